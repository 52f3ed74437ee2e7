"""Converts the keys of a Compose service.

Source: the Compose specification, "Services top-level elements".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from piimage.composefile import gets, limits, rights, runs
from piimage.composefile.service import Converter, Service


def convert_key(key: str, value: object, service: Service) -> None:
    """Convert a key; a key without equivalent becomes a note."""
    if key.startswith("x-") or value is None:
        return
    converter = CONVERTERS.get(key)
    if converter is None:
        service.note(_NOTES.get(key, f"{key}: piimage has no equivalent"))
        return
    guarded(key, lambda: converter(value, service), service)


def guarded(key: str, call: Callable[[], None], service: Service) -> None:
    """Run `call`, which converts `key`; a value that is not understood becomes a note."""
    try:
        call()
    except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError):
        service.note(f"{key}: its value is not understood")


def known(key: str) -> bool:
    """Return whether Compose has `key`."""
    return key in CONVERTERS or key in _NOTES


CONVERTERS: Final[Mapping[str, Converter]] = {
    **gets.CONVERTERS,
    **limits.CONVERTERS,
    **rights.CONVERTERS,
    **runs.CONVERTERS,
}
"""The converters of all keys."""

_NOTES: Final[Mapping[str, str]] = {
    "blkio_config": "blkio_config: write it as resources: { blockio: … }",
    "credential_spec": "credential_spec: it has no meaning on Linux",
    "device_cgroup_rules": "device_cgroup_rules: use devices: [{path: all, type: c, …}]",
    "develop": "develop: it has no meaning on a Pi",
    "dns": "dns: for all services: network: { ethernet: { dns: […] } } at the top level",
    "dns_search": "dns_search: not supported; use full host names",
    "domainname": "domainname: write the full name in hostname:",
    "extends": "extends: expand the file first: `docker compose config > FULL.yml`",
    "external_links": "external_links: a Pi has no other projects",
    "gpus": "gpus: name the GPU's nodes under /dev/dri in devices:",
    "init": "init: not supported; the program has to wait for its own children",
    "links": "links: remove it; every service name resolves to 127.0.0.1",
    "mac_address": "mac_address: a service uses the host's network",
    "mem_swappiness": "mem_swappiness: cgroups of version 2 do not have it",
    "oom_kill_disable": "oom_kill_disable: cgroups of version 2 do not have it; see oomScoreAdj",
    "post_start": "post_start: not supported; run it in the image's program",
    "pre_stop": "pre_stop: not supported; run it in the image's program",
    "profiles": "profiles: not supported; the service always runs",
    "runtime": "runtime: ignored; runc runs the containers",
    "scale": "scale: ignored; one instance of a service runs",
    "volumes_from": "volumes_from: not supported; name the volumes in each service",
}


def in_order(service: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Give the keys of a service, beginning with those on which others depend."""
    first: Sequence[str] = ("build", "image", "cap_add", "privileged", "environment", "env_file")
    yield from ((key, service[key]) for key in first if key in service)
    done = (*first, "entrypoint", "command", "cap_drop")
    yield from ((key, value) for key, value in service.items() if key not in done)
