"""Parses the responses of an agent, which are not trusted."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_TEXT_LIMIT: Final = 1 << 16
_LIST_LIMIT: Final = 4096


class BadAnswer(Exception):  # becomes deploy.bad-answer where the host is known
    """A response does not have the required form."""


def text(answer: Mapping[str, Any], key: str) -> str:
    """Return a text of at most 64 KiB."""
    value = answer.get(key)
    if not isinstance(value, str) or len(value) > _TEXT_LIMIT:
        raise BadAnswer(f"{key} is not a text")
    return value


def number(answer: Mapping[str, Any], key: str, low: int = 0, high: int = 1 << 62) -> int:
    """Return an integer from `low` to `high`."""
    value = answer.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise BadAnswer(f"{key} is not a number from {low} to {high}")
    return value


def texts(answer: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Return a list of texts."""
    value = answer.get(key)
    if not isinstance(value, list) or len(value) > _LIST_LIMIT:
        raise BadAnswer(f"{key} is not a list")
    return tuple(text({key: item}, key) for item in value)


def mapping(answer: Mapping[str, Any], key: str) -> dict[str, str]:
    """Return a mapping of texts to texts."""
    value = answer.get(key)
    if not isinstance(value, dict) or len(value) > _LIST_LIMIT:
        raise BadAnswer(f"{key} is not a mapping")
    return {name: text(value, name) for name in value}


def digests(answer: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Return a list of SHA-256 digests."""
    values = texts(answer, key)
    if not all(_DIGEST.fullmatch(value) for value in values):
        raise BadAnswer(f"{key} has an invalid digest")
    return values


@dataclass(frozen=True)
class Slot:
    """The system that a Pi booted, and its current containers."""

    board: str
    kernel: str
    arch: str
    prefix: str
    system: tuple[str, ...]
    files: Mapping[str, str]
    """Digests of the slot's files by path, except for the layers."""
    containers: str
    """Digest of the containers layer that the slot ships."""
    running: str
    """Digest of the containers layer in use."""
    temporary: bool
    """A deployed version is lost at the next boot: /data is missing or could not be mounted."""
    folders: Mapping[str, str]
    """Digests of the files of the containers layer in use, by path."""


def slot(answer: Mapping[str, Any]) -> Slot:
    """Parse the response to `slot`."""
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
    """Which of the requested layers the Pi has, and how much of others has arrived."""

    present: frozenset[str]
    partial: Mapping[str, int]
    """Bytes that have arrived, by digest."""


def have(answer: Mapping[str, Any], requested: Sequence[str]) -> Have:
    """Parse the response to `have`; layers that were not requested are an error."""
    present = frozenset(digests(answer, "have"))
    partial = answer.get("partial")
    if not isinstance(partial, dict) or not (present | set(partial)) <= set(requested):
        raise BadAnswer("the response names layers that were not requested")
    return Have(present, {digest: number(partial, digest) for digest in partial})


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
    missing: tuple[str, ...] = ()
    """The secrets that the service waits for."""


def service(answer: object) -> Service:
    """Parse one row of `ps`."""
    if not isinstance(answer, dict):
        raise BadAnswer("a service is not a mapping")
    seconds = answer.get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float | None):
        raise BadAnswer("seconds is not a number")
    return Service(
        text(answer, "name"), text(answer, "state"), text(answer, "health"),
        number(answer, "restarts"), _optional_number(answer, "exit"),
        _optional_number(answer, "pid"), seconds, _optional_number(answer, "memory"),
        texts(answer, "missing") if "missing" in answer else (),
    )  # fmt: skip


def services(answer: Mapping[str, Any]) -> tuple[Service, ...]:
    """Parse the response to `ps`."""
    rows = answer.get("services")
    if not isinstance(rows, list) or len(rows) > _LIST_LIMIT:
        raise BadAnswer("services is not a list")
    return tuple(service(row) for row in rows)


def _optional_number(answer: Mapping[str, Any], key: str) -> int | None:
    return None if answer.get(key) is None else number(answer, key)
