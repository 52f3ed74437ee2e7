"""Bundles (.swu): a version of a system in the form in which SWUpdate and update servers take it.

A bundle is a cpio (newc with sums): ``sw-description``, its signature, and the parts that the
description lists, in its order. So the description, which is signed, says where each part lies. The
Pi reads bundles with this module, which needs the standard library alone.

Sources: cpio(5), "New CRC Format"; SWUpdate's documentation, "SWUpdate: syntax and tags with the
default parser", "Update images from verified source"; libconfig's manual, "Configuration Files".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from piimage.errors import PiimageError

DESCRIPTION: Final = "sw-description"
SIGNATURE: Final = "sw-description.sig"
LAYERS: Final = "layers"
"""The digests of the containers' layers, one on each line; without the layer that lists them."""
FIRMWARE: Final = "firmware"
"""What the boot firmware has to be that both slots share: a digest and a name on each line."""
MAX_DESCRIPTION: Final = 1 << 20
"""Bytes of a description: some thousands of parts."""
MAX_SIGNATURE: Final = 1 << 16
HEADER: Final = 110
"""Bytes of an entry's header, before its name."""
_MAGIC: Final = b"070702"
_TRAILER: Final = "TRAILER!!!"
_MODE: Final = 0o100644
_MAX_NAME: Final = 128
_MAX_PADDING: Final = 512  # zeros after the trailer: tape blocks
_CHUNK: Final = 1 << 18
_NUMBER: Final = re.compile(rb"[0-9A-Fa-f]{104}")
_UNPLAIN: Final = re.compile(r"[^ !#-\[\]-_a-}]")
"""What is no ASCII, would end a string of libconfig, or is refused by hawkBit."""
_MAX_REVISION: Final = 128  # hawkBit's limit for an attribute of a device
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_BOARD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_HEAD: Final = re.compile(
    r'software =\n\{\n\tversion = "(?P<number>\d{1,10})\.(?P<date>\d{1,12})\.0'
    r'\+(?P<id>[0-9a-f]{12})";\n'
    r'\tdescription = "(?P<note>[ !#-\[\]-~]{0,200})";\n'
    r"\t(?P<board>[A-Za-z][A-Za-z0-9_-]{0,63}) =\n\t\{\n"
    r'\t\thardware-compatibility = \[ "(?P<name>[ !#-\[\]-~]{1,200})" \];\n'
    r'\t\tpiimage = \{ system = "(?P<system>[0-9a-f]{64})"; '
    r'containers = "(?P<containers>[0-9a-f]{64})"; \};\n'
    r"\t\timages =\n\t\t\(\n"
)
_ITEM: Final = re.compile(
    r'\t\t\t\{ filename = "([A-Za-z0-9._-]{1,80})"; size = "(\d{1,10})\+(\d{1,10})"; '
    r'type = "dummy"; sha256 = "([0-9a-f]{64})"; \}(,?)\n'
)
_TAIL: Final = "\t\t);\n\t};\n};\n"


class Readable(Protocol):
    """A source of bytes, such as a binary file."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; none at the end."""
        ...


@dataclass(frozen=True)
class Part:
    """A file of a bundle."""

    name: str
    size: int
    sha256: str
    zeros: int = 0
    """How many of its bytes are zeros at its end, which a Pi need not fetch."""


@dataclass(frozen=True)
class Description:
    """What a bundle is for, and its parts in their order."""

    board: str
    name: str
    """The name of the YAML file, which all versions of an appliance share."""
    order: tuple[int, int]
    """The version's place among others: its number, and the date of its lock."""
    id: str
    """The beginning of the SHA-256 of the version's appliance.json."""
    note: str
    system: str
    """What `system_digest` gives for the version."""
    containers: str
    """The digest of the containers layer."""
    parts: tuple[Part, ...]

    @property
    def version(self) -> str:
        """The version as servers show and compare it (Semantic Versioning 2.0.0)."""
        return version_text(self.order, self.id)

    def part(self, name: str) -> Part | None:
        """Return the part with this name."""
        return next((part for part in self.parts if part.name == name), None)

    def file(self, digest: str) -> Part | None:
        """Return the part with this content."""
        return next((part for part in self.parts if part.sha256 == digest), None)


def version_text(order: tuple[int, int], identity: str) -> str:
    """Return the version of a place among others and an appliance.json's digest."""
    return f"{order[0]}.{order[1]}.0+{identity[:12]}"


def plain(text: str) -> str:
    """Return `text` as it can stand between quotes; other characters become ``_``."""
    return _UNPLAIN.sub("_", text)[:200]


def revision(name: str) -> str:
    """Return an appliance's name as bundles and Pis show it to a server, which compares both."""
    return plain(name)[:_MAX_REVISION]


def is_board(name: str) -> bool:
    """Say whether a board's name can name a group of the description."""
    return _BOARD.fullmatch(name) is not None


def recipe_name(slot: str) -> str:
    """Return the part with the recipe for a slot; its signature has the ending ``.cms``.

    A slot is named by the number of its partition, or by its folder with a slash.
    """
    return f"recipe-{slot.rstrip('/')}"


def firmware_lines(digests: Mapping[str, str]) -> bytes:
    """Return the text of the part `FIRMWARE`."""
    return "".join(f"{digest} {name}\n" for name, digest in sorted(digests.items())).encode()


def identity(manifest: Mapping[str, object], data: bytes) -> str:
    """Return the digest that names the version of an appliance.json, which has the bytes `data`.

    Folders have different manifests of one version, which name the digest that they share.
    """
    return _shared(manifest, "id") or hashlib.sha256(data).hexdigest()


def _shared(manifest: Mapping[str, object], key: str) -> str:
    found = manifest.get("folders")
    value = found.get(key) if isinstance(found, dict) else None
    return value if isinstance(value, str) and _DIGEST.fullmatch(value) else ""


def system_digest(manifest: Mapping[str, object]) -> str:
    """Return a digest of what a deploy of containers leaves as it is, from an appliance.json.

    Versions that differ in their containers alone have the same one.
    """
    return _shared(manifest, "system") or _system_digest(manifest)


def _system_digest(manifest: Mapping[str, object]) -> str:
    files = manifest.get("files")
    lines = [f"kernel {manifest.get('kernel')}"]
    listed = manifest.get("system")
    lines += [f"layer {digest}" for digest in (listed if isinstance(listed, list) else ())]
    for path, digest in sorted(files.items()) if isinstance(files, dict) else ():
        if not path.endswith("initramfs.img") and not path.startswith("layers/"):
            lines.append(f"{path} {digest}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


# --- the description


def describe(description: Description) -> bytes:
    """Return the text of a description, in libconfig's syntax."""
    found = description
    items = [
        f'\t\t\t{{ filename = "{part.name}"; size = "{part.size - part.zeros}+{part.zeros}"; '
        f'type = "dummy"; '
        f'sha256 = "{part.sha256}"; }}'
        for part in found.parts
    ]
    text = (
        f'software =\n{{\n\tversion = "{found.version}";\n\tdescription = "{plain(found.note)}";\n'
        f"\t{found.board} =\n\t{{\n"
        f'\t\thardware-compatibility = [ "{revision(found.name)}" ];\n'
        f'\t\tpiimage = {{ system = "{found.system}"; containers = "{found.containers}"; }};\n'
        "\t\timages =\n\t\t(\n" + ",\n".join(items) + "\n" + _TAIL
    )
    return text.encode()


def parse_description(data: bytes) -> Description:
    """Read what `describe` writes; raises PiimageError ``bundle.damaged`` for anything else."""
    text = data[:MAX_DESCRIPTION].decode("ascii", "replace")
    head = _HEAD.match(text)
    if head is None:
        raise damaged("its sw-description is not one of piimage")
    parts, at, more = [], head.end(), True
    while more:
        item = _ITEM.match(text, at)
        if item is None:
            raise damaged("a part in its sw-description cannot be read")
        size, zeros = int(item[2]), int(item[3])
        parts.append(Part(item[1], size + zeros, item[4], zeros))
        at, more = item.end(), bool(item[5])
    if text[at:] != _TAIL or len({part.name for part in parts}) != len(parts):
        raise damaged("its sw-description lists a part twice, or does not end where it should")
    return Description(
        head["board"], head["name"], (int(head["number"]), int(head["date"])), head["id"],
        head["note"], head["system"], head["containers"], tuple(parts),
    )  # fmt: skip


# --- the archive


def header(number: int, name: str, size: int, total: int) -> bytes:
    """Return the header of entry `number`; `total` is the sum of its bytes."""
    mode = _MODE if number else 0
    words = (number, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, len(name) + 1, total & 0xFFFFFFFF)
    text = _MAGIC + b"".join(b"%08X" % word for word in words) + name.encode() + b"\0"
    return text + bytes(-len(text) % 4)


def trailer() -> bytes:
    """Return the end of an archive."""
    return header(0, _TRAILER, 0, 0)


def header_size(name: str) -> int:
    """Return the bytes of an entry before its content."""
    size = HEADER + len(name) + 1
    return size + -size % 4


def padded(size: int) -> int:
    """Return the bytes that a content of `size` takes."""
    return size + -size % 4


@dataclass(frozen=True)
class Header:
    """What the header of an entry says: the sizes of its content and of its name, and the sum."""

    size: int
    name_size: int
    total: int


def read_header(data: bytes) -> Header:
    """Read the first 110 bytes of an entry; raises PiimageError ``bundle.damaged``."""
    if data[:6] != _MAGIC or not _NUMBER.fullmatch(data[6:HEADER]):
        raise damaged("it is no cpio with sums (newc, 070702)")
    words = [int(data[at : at + 8], 16) for at in range(6, HEADER, 8)]
    if not 1 < words[11] <= _MAX_NAME:
        raise damaged("the name of an entry is too long")
    return Header(words[6], words[11], words[12])


def places(description: Description, start: int) -> dict[str, int]:
    """Return where the content of each part begins; `start` is the end of the signature."""
    found, at = {}, start
    for part in description.parts:
        at += header_size(part.name)
        found[part.name] = at
        at += padded(part.size)
    return found


@dataclass(frozen=True)
class Head:
    """The beginning of a bundle: the description as signed, its signature, and where both end."""

    text: bytes
    signature: bytes
    end: int


class Reader:
    """Reads an archive from a stream, entry by entry.

    Raises PiimageError ``bundle.damaged`` if it is truncated or not such an archive.
    """

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self.at = 0

    def exactly(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        parts = []
        while count:
            data = self._stream.read(count)
            if not data:
                raise damaged("it ends too early")
            parts.append(data)
            count -= len(data)
            self.at += len(data)
        return b"".join(parts)

    def next_header(self) -> tuple[str, Header]:
        """Return the name and the header of the next entry."""
        found = read_header(self.exactly(HEADER))
        rest = self.exactly(padded(HEADER + found.name_size) - HEADER)
        name, end, padding = rest[: found.name_size].partition(b"\0")
        if not end or padding or any(rest[found.name_size :]):
            raise damaged("the name of an entry does not end where it should")
        return name.decode("ascii", "replace"), found

    def head(self) -> Head:
        """Return the description and its signature, which come first."""
        text = self._small(DESCRIPTION, MAX_DESCRIPTION)
        return Head(text, self._small(SIGNATURE, MAX_SIGNATURE), self.at)

    def _small(self, name: str, limit: int) -> bytes:
        found, entry = self.next_header()
        if found != name or not 0 < entry.size <= limit:
            raise damaged(f"it does not begin with {DESCRIPTION} and {SIGNATURE}")
        return b"".join(self._content(entry))

    def _content(self, entry: Header) -> Iterator[bytes]:
        """Yield the content of an entry, and compare its sum."""
        left, total = entry.size, 0
        while left:
            data = self.exactly(min(left, _CHUNK))
            left -= len(data)
            total += sum(data)
            yield data
        if total & 0xFFFFFFFF != entry.total or any(self.exactly(-entry.size % 4)):
            raise damaged("the sum of an entry is wrong")

    def check(self, description: Description) -> None:
        """Read the parts, and compare each with the description; then the end of the archive."""
        for part in description.parts:
            name, entry = self.next_header()
            if (name, entry.size) != (part.name, part.size):
                raise damaged(f"{part.name} is not where its sw-description has it")
            digest = hashlib.sha256()
            for data in self._content(entry):
                digest.update(data)
            if digest.hexdigest() != part.sha256:
                raise damaged(f"{part.name} has not the digest in its sw-description")
        name, entry = self.next_header()
        if name != _TRAILER or entry.size:
            raise damaged("it has parts that its sw-description does not list")
        rest = self._stream.read(_MAX_PADDING + 1)
        if len(rest) > _MAX_PADDING or any(rest):
            raise damaged("something follows its end")


def damaged(reason: str) -> PiimageError:
    """Return the error for a bundle that cannot be used."""
    return PiimageError(
        "bundle.damaged", f"the bundle cannot be used: {reason}",
        hint="make it again with piimage bundle",
    )  # fmt: skip
