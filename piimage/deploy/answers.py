"""What an agent answers, checked: it may be anybody's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_TEXT_LIMIT: Final = 1 << 16
_LIST_LIMIT: Final = 4096


class Nonsense(Exception):  # becomes deploy.bad-answer where the host is known
    """An answer has not the form that it must have."""


def text(answer: Mapping[str, Any], key: str) -> str:
    """Return a text of at most 64 KiB."""
    value = answer.get(key)
    if not isinstance(value, str) or len(value) > _TEXT_LIMIT:
        raise Nonsense(f"{key} is no text")
    return value


def number(answer: Mapping[str, Any], key: str, low: int = 0, high: int = 1 << 62) -> int:
    """Return a whole number of `low` to `high`."""
    value = answer.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise Nonsense(f"{key} is no number of {low} to {high}")
    return value


def texts(answer: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Return a list of texts."""
    value = answer.get(key)
    if not isinstance(value, list) or len(value) > _LIST_LIMIT:
        raise Nonsense(f"{key} is no list")
    return tuple(text({key: one}, key) for one in value)


def mapping(answer: Mapping[str, Any], key: str) -> dict[str, str]:
    """Return a mapping of texts to texts."""
    value = answer.get(key)
    if not isinstance(value, dict) or len(value) > _LIST_LIMIT:
        raise Nonsense(f"{key} is no mapping")
    return {name: text(value, name) for name in value}


def digests(answer: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Return a list of SHA-256 digests."""
    found = texts(answer, key)
    if not all(_DIGEST.fullmatch(one) for one in found):
        raise Nonsense(f"{key} has a digest that is none")
    return found


@dataclass(frozen=True)
class Slot:
    """What a Pi booted, and what its containers are now."""

    board: str
    kernel: str
    arch: str
    prefix: str
    system: tuple[str, ...]
    files: Mapping[str, str]
    """Digests of the slot's files by path, without its layers."""
    containers: str
    """Digest of the containers layer that the slot ships."""
    running: str
    """Digest of the containers layer in use."""
    temporary: bool
    """What is deployed is gone at the next boot: /data could not be mounted, or there is none."""
    folders: Mapping[str, str]
    """Digests of the files of the containers layer in use, by path."""


def slot(answer: Mapping[str, Any]) -> Slot:
    """Return the answer to `slot`."""
    return Slot(
        board=text(answer, "board"),
        kernel=text(answer, "kernel"),
        arch=text(answer, "arch"),
        prefix=text(answer, "prefix"),
        system=digests(answer, "system"),
        files=mapping(answer, "files"),
        containers=text(answer, "containers"),
        running=text(answer, "running"),
        temporary=answer.get("temporary") is True,
        folders=mapping(answer, "folders"),
    )


@dataclass(frozen=True)
class Have:
    """Which of the layers that were asked for are there, and how much of some has arrived."""

    there: frozenset[str]
    partial: Mapping[str, int]


def have(answer: Mapping[str, Any], asked: Sequence[str]) -> Have:
    """Return the answer to `have`; what was not asked for counts as nonsense."""
    there = frozenset(digests(answer, "have"))
    partial = answer.get("partial")
    if not isinstance(partial, dict) or not (there | set(partial)) <= set(asked):
        raise Nonsense("it speaks of layers that nobody asked for")
    return Have(there, {one: number(partial, one) for one in partial})


@dataclass(frozen=True)
class Service:
    """A row of `ps`."""

    name: str
    state: str
    health: str
    restarts: int
    exit: int | None
    pid: int | None
    seconds: float | None
    memory: int | None


def service(answer: object) -> Service:
    """Return one row of `ps`."""
    if not isinstance(answer, dict):
        raise Nonsense("a service is no mapping")
    seconds = answer.get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float | None):
        raise Nonsense("seconds is no number")
    return Service(
        text(answer, "name"), text(answer, "state"), text(answer, "health"),
        number(answer, "restarts"), _perhaps(answer, "exit"), _perhaps(answer, "pid"),
        seconds, _perhaps(answer, "memory"),
    )  # fmt: skip


def services(answer: Mapping[str, Any]) -> tuple[Service, ...]:
    """Return the answer to `ps`."""
    rows = answer.get("services")
    if not isinstance(rows, list) or len(rows) > _LIST_LIMIT:
        raise Nonsense("services is no list")
    return tuple(service(row) for row in rows)


def _perhaps(answer: Mapping[str, Any], key: str) -> int | None:
    return None if answer.get(key) is None else number(answer, key)
