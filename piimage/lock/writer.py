"""A lock as text: sorted, one value a line, so that a changed pin is a small diff."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC
from typing import Final, TypeVar

from piimage.debian.package import Package
from piimage.lock.model import (
    VERSION,
    Lock,
    LockedEnvironment,
    LockedImage,
    LockedRoot,
    LockedSuite,
    LockedWheel,
)

_HEADER: Final = """\
# Written by `piimage lock`: every input of a build, pinned. Paths are relative to the root of an
# archive, so any mirror will do. Keep this file under version control.
"""
_PLAIN: Final = re.compile(r"[A-Za-z/_][A-Za-z0-9/_.+~@%=-]*(?::[A-Za-z0-9/_.+~@%=-]+)*")
_WORDS: Final = {"y", "n", "yes", "no", "true", "false", "on", "off", "null"}
_T = TypeVar("_T")


def render_lock(lock: Lock) -> str:
    """Return the text of `lock`."""
    return "".join(_lines(lock))


def _lines(lock: Lock) -> Iterator[str]:
    yield _HEADER
    yield f"version: {VERSION}\n"
    yield from _section("suites", lock.suites, lambda suite: suite.name, _suite_fields)
    yield from _section("roots", lock.roots, lambda root: root.name, _root_fields)
    yield from _section("packages", lock.packages, lambda package: package.key, _package_fields)
    yield from _section("images", lock.images, lambda image: image.reference, _image_fields)
    yield from _section(
        "environments", lock.environments, lambda environment: environment.name, _environment_fields
    )
    yield from _section("wheels", lock.wheels, lambda wheel: wheel.filename, _wheel_fields)


def _section(
    title: str,
    items: Iterable[_T],
    name: Callable[[_T], str],
    fields: Callable[[_T], Mapping[str, str]],
) -> Iterator[str]:
    ordered = sorted(items, key=name)
    yield f"\n{title}:\n" if ordered else f"\n{title}: {{}}\n"
    for item in ordered:
        yield f"  {_scalar(name(item))}:\n"
        for field, value in fields(item).items():
            yield f"    {field}: {value}\n" if value[0] != "\n" else f"    {field}:{value}\n"


def _suite_fields(suite: LockedSuite) -> Mapping[str, str]:
    return {
        "components": _flow(suite.components),
        "date": _quoted(f"{suite.date.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"),
        "sha256": _quoted(suite.sha256),
    }


def _root_fields(root: LockedRoot) -> Mapping[str, str]:
    return {
        "architecture": root.architecture,
        "asks": _flow(root.asks),
        "without": _flow(root.without),
        "packages": _list(root.packages),
    }


def _package_fields(package: Package) -> Mapping[str, str]:
    return {
        "version": _quoted(package.version),
        "suite": _scalar(package.suite),
        "source": _scalar(package.source),
        "source_version": _quoted(package.source_version),
        "path": _scalar(package.path),
        "size": str(package.size),
        "sha256": _quoted(package.sha256),
    }


def _image_fields(image: LockedImage) -> Mapping[str, str]:
    granted = {"granted": _list(image.granted)} if image.granted else {}
    return {"digest": _scalar(image.digest), "manifest": _scalar(image.manifest), **granted}


def _environment_fields(environment: LockedEnvironment) -> Mapping[str, str]:
    sources = {"sources": _flow(environment.sources)} if environment.sources else {}
    return {
        "architecture": environment.architecture,
        "python": _quoted(environment.python),
        "glibc": _quoted(environment.glibc),
        "asks": _flow(environment.asks),
        **sources,
        "wheels": _list(environment.wheels),
    }


def _wheel_fields(wheel: LockedWheel) -> Mapping[str, str]:
    return {
        "name": _scalar(wheel.name),
        "version": _quoted(wheel.version),
        "size": str(wheel.size),
        "sha256": _quoted(wheel.sha256),
    }


def _list(words: Sequence[str]) -> str:
    return "".join(f"\n      - {_scalar(word)}" for word in words) or "[]"


def _flow(words: Sequence[str]) -> str:
    return f"[{', '.join(_scalar(word) for word in words)}]"


def _quoted(text: str) -> str:
    """Write what could look like a number or a date, so always in quotes."""
    return json.dumps(text)


def _scalar(text: str) -> str:
    """Write `text` so that every YAML parser reads it as the same string."""
    plain = _PLAIN.fullmatch(text) is not None and text.lower() not in _WORDS
    return text if plain else _quoted(text)
