"""The words of a Compose service, and what carries each over.

Source: the Compose specification, "Services top-level elements".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from piimage.composefile import gets, limits, rights, runs
from piimage.composefile.service import Service, Word


def carry(word: str, value: object, service: Service) -> None:
    """Carry one word over; what does nothing here is noted."""
    if word.startswith("x-") or value is None:
        return
    handler = WORDS.get(word)
    if handler is None:
        service.note(_NOTES.get(word, f"{word}: nothing here does the same"))
        return
    understood(word, lambda: handler(value, service), service)


def understood(word: str, call: Callable[[], None], service: Service) -> None:
    """Make `call`, which carries `word` over; note it where the value is not understood."""
    try:
        call()
    except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError):
        service.note(f"{word}: its value is not understood")


def known(word: str) -> bool:
    """Say whether `word` is one of Compose's."""
    return word in WORDS or word in _NOTES


WORDS: Final[Mapping[str, Word]] = {
    **gets.WORDS,
    **limits.WORDS,
    **rights.WORDS,
    **runs.WORDS,
}
"""Every word of a service that is carried over."""

_NOTES: Final[Mapping[str, str]] = {
    "blkio_config": "blkio_config: write it as resources: { blockio: … }",
    "credential_spec": "credential_spec: has no meaning on Linux",
    "device_cgroup_rules": "device_cgroup_rules: write them as devices: [{path: all, type: c, …}]",
    "develop": "develop: has no meaning on a Pi",
    "dns": "dns: write it as network: { ethernet: { dns: […] } } at the top, for all services",
    "dns_search": "dns_search: a service looks names up as they are; write them in full",
    "domainname": "domainname: hostname: says the whole name",
    "extends": "extends: `docker compose config > FULL.yml` writes it out; import that",
    "external_links": "external_links: there are no other projects on a Pi",
    "gpus": "gpus: a Pi's are under /dev/dri; name them in devices:",
    "init": "init: no small init is put before the program; its children are its own",
    "links": "links: every service is reached by its name at 127.0.0.1",
    "mac_address": "mac_address: a service has the host's network",
    "mem_swappiness": "mem_swappiness: control groups of version 2 have none",
    "oom_kill_disable": "oom_kill_disable: control groups of version 2 have none; see oomScoreAdj",
    "post_start": "post_start: write it into the image's program",
    "pre_stop": "pre_stop: write it into the image's program",
    "profiles": "profiles: it runs always",
    "runtime": "runtime: containers run by runc",
    "scale": "scale: one of each runs",
    "volumes_from": "volumes_from: name the volumes in each service",
}


def in_order(service: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Give the words of a service, those first that others build on."""
    first: Sequence[str] = ("build", "image", "cap_add", "privileged", "environment", "env_file")
    yield from ((word, service[word]) for word in first if word in service)
    done = (*first, "entrypoint", "command", "cap_drop")
    yield from ((word, value) for word, value in service.items() if word not in done)
