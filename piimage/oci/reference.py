"""Image references: ``registry/name:tag@digest``, with Docker's defaults.

Source: the grammar of the distribution project's reference package. A reference without a registry
stays without one: the transport knows the default registry, so this module contains no host name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final, NoReturn

from piimage.errors import InputError

_PATH_PART: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH: Final = re.compile(rf"{_PATH_PART}(?:/{_PATH_PART})*")
_HOST_PART: Final = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_REGISTRY: Final = re.compile(
    rf"(?:{_HOST_PART}(?:\.{_HOST_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]{{1,5}})?"
)
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_MAX_NAME: Final = 255


@dataclass(frozen=True)
class Reference:
    """The place of an image; `registry` is None for the transport's default registry.

    If there are both `tag` and `digest`, only the digest counts, and the tag is for people.
    """

    registry: str | None
    repository: str
    tag: str | None = None
    digest: str | None = None

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}" if self.registry else self.repository

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"

    @property
    def transport(self) -> str:
        """The form for transfers: with the digest if there is one, or else the tag."""
        if self.digest:
            return f"{self.name}@{self.digest}"
        return f"{self.name}:{self.tag or 'latest'}"

    def at(self, digest: str) -> Reference:
        """Return the reference to `digest` in this repository, with the same tag."""
        return replace(self, digest=digest)


def parse(text: str, place: str | None = None) -> Reference:
    """Read a reference as a user writes it.

    A name of one part means ``library/NAME`` of the default registry, and without tag and digest
    the tag is ``latest``. Raises InputError ``oci.reference`` that names the part at fault.
    """
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        _refuse(
            text, place, f"{digest!r} is not a digest", "write sha256: and 64 hexadecimal digits"
        )
    name, tag = _split_tag(rest)
    if tag is not None and not _TAG.fullmatch(tag):
        _refuse(
            text,
            place,
            f"{tag!r} is not a tag",
            "use up to 128 letters, digits, '_', '.' and '-'; do not begin with '.' or '-'",
        )
    registry, repository = _split_registry(name)
    if registry is not None and not _REGISTRY.fullmatch(registry):
        _refuse(text, place, f"{registry!r} is not a registry", "write it as host or host:port")
    _check_repository(text, place, repository)
    if registry is None and "/" not in repository:
        repository = f"library/{repository}"
    reference = Reference(registry, repository, tag, digest or None)
    if len(reference.name) > _MAX_NAME:
        _refuse(text, place, "the name is too long", f"use at most {_MAX_NAME} characters")
    return reference if tag or digest else replace(reference, tag="latest")


def _split_tag(rest: str) -> tuple[str, str | None]:
    name, colon, tag = rest.rpartition(":")
    # The colon of host:port is before a slash, the colon of a tag after the last slash.
    return (name, tag) if colon and "/" not in tag else (rest, None)


def _split_registry(name: str) -> tuple[str | None, str]:
    first, slash, rest = name.partition("/")
    if slash and (first == "localhost" or any(mark in first for mark in ".:[")):
        return first, rest
    return None, name


def _check_repository(text: str, place: str | None, repository: str) -> None:
    if re.fullmatch(r"[0-9a-f]{64}", repository):
        _refuse(text, place, "this is the ID of an image, not a name", "write NAME@sha256:ID")
    if _PATH.fullmatch(repository):
        return
    if _PATH.fullmatch(repository.lower()):
        _refuse(text, place, "the name has capital letters", "write it in lower case")
    _refuse(
        text,
        place,
        f"{repository!r} is not the name of an image" if repository else "the name is missing",
        "write REGISTRY/NAME:TAG or NAME@sha256:DIGEST",
    )


def _refuse(text: str, place: str | None, fault: str, instead: str) -> NoReturn:
    raise InputError("oci.reference", f"image {text!r}: {fault}", place=place, hint=instead)
