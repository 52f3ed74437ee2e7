"""A foreign tar as a stream of members, each checked against limits before it is kept.

Sources: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Header Block"; GNU tar 1.35, "Basic
Tar Format" (types L, K and S, base-256 numbers). A member that no Linux file system can hold is
refused: the kernel limits a path to 4,096 bytes (PATH_MAX), a name to 255 (NAME_MAX), and the
target of a symbolic link likewise.

Python's tarfile does not suit foreign archives: it reads an extended header of any size into
memory, takes a damaged header after the first for the end, and keeps every member it has read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NoReturn, Protocol

from piimage.errors import PiimageError
from piimage.store import CHUNK

MAX_PATH: Final = 4096
MAX_NAME: Final = 255
MAX_DEPTH: Final = 256
"""Parts of a path. The kernel has no such limit; the deepest real trees have some 50."""
MAX_HEADERS: Final = 1 << 20
"""Bytes of all extended headers of one member: Linux allows 64 KiB for one attribute."""
_BLOCK: Final = 512
_MAX_ID: Final = (1 << 32) - 2  # -1 is not an ID
_MAX_MAJOR: Final = (1 << 12) - 1
_MAX_MINOR: Final = (1 << 20) - 1
_MAX_SIZE: Final = 1 << 63
_XATTR: Final = b"SCHILY.xattr."
_FILES: Final = frozenset({b"0", b"\0", b"7"})
_HAS_MODE_ONLY: Final = frozenset({b"1", b"2", b"3", b"4", b"5", b"6"})
_GLOBAL: Final = (b"path", b"linkpath", b"size", b"uid", b"gid")
_SPARSE: Final = b"GNU.sparse."


class Readable(Protocol):
    """A source of bytes, such as a binary file."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; none at the end."""
        ...


@dataclass(frozen=True)
class Member:
    """One member; `type` is the type flag of its header (``0`` for every kind of regular file).

    Names are text as Python's file names are: bytes that are not UTF-8 are lone surrogates.
    """

    path: str
    type: str
    mode: int
    uid: int
    gid: int
    size: int
    link: str
    device: tuple[int, int]
    xattrs: Mapping[str, bytes] = field(default_factory=dict)


class Tar:
    """Reads an uncompressed tar once, from start to end.

    Raises ValueError if the stream is not a tar, EOFError if it is truncated, PiimageError
    ``trees.too-long``, ``trees.sparse`` or ``trees.xattr-name`` for a member that is refused.
    """

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._buffer = b""
        self._at = 0
        self._current: Member | None = None
        self._left = 0  # unread bytes of its content
        self._padding = 0
        self._global: dict[bytes, bytes] = {}

    def __iter__(self) -> Iterator[Member]:
        """Yield the members in their order."""
        first = True
        while (header := self._next_header(first=first)) is not None:
            first = False
            yield self._member(header)

    def content(self, member: Member) -> Iterator[bytes]:
        """Yield the content of `member`, which must be the last one that the iterator yielded."""
        if member is not self._current:
            raise ValueError(f"the reader is already past {member.path!r}")
        while self._left:
            yield self._piece()

    def _piece(self) -> bytes:
        data = self._some(min(self._left, CHUNK))
        self._left -= len(data)
        return data

    def _next_header(self, *, first: bool) -> bytes | None:
        while self._left:
            self._piece()
        self._exactly(self._padding)
        self._padding = 0
        header = self._block(may_end=not first)
        if header is None:
            return None
        if not header.strip(b"\0"):
            after = self._block(may_end=True)
            if after is not None and after.strip(b"\0"):
                raise ValueError("members follow the end of the archive")
            return None
        _check_sum(header)
        return header

    def _member(self, header: bytes) -> Member:
        """Read the extended headers of a member, and its own header."""
        attributes = dict(self._global)
        budget = MAX_HEADERS
        while (kind := header[156:157]) in (b"x", b"X", b"g", b"L", b"K"):
            size = _number(header[124:136], "size", _MAX_SIZE)
            budget -= size + _BLOCK
            if budget < 0:
                _too_long(f"an extended header has {size} bytes")
            data = self._exactly(size)
            self._exactly(-size % _BLOCK)
            if kind in b"LK":
                attributes[b"path" if kind == b"L" else b"linkpath"] = data.partition(b"\0")[0]
            elif kind == b"g":
                self._keep(records(data))
                attributes |= self._global
            else:
                attributes |= records(data)
            header = self._exactly(_BLOCK)
            _check_sum(header)
        member = self._current = _parse_member(header, attributes)
        # A folder that is written as a file whose name ends in a slash may have content as well.
        self._left = _content_size(header, attributes)
        self._padding = -self._left % _BLOCK
        return member

    def _keep(self, attributes: Mapping[bytes, bytes]) -> None:
        self._global |= {key: attributes[key] for key in _GLOBAL if key in attributes}

    # --- bytes

    def _block(self, *, may_end: bool) -> bytes | None:
        """Return the next block; None at the end of the stream if the tar may end there."""
        if may_end and not self._fill():
            return None
        return self._exactly(_BLOCK)

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size:
            parts.append(self._some(size))
            size -= len(parts[-1])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _some(self, size: int) -> bytes:
        """Return at least one and at most `size` bytes."""
        if not self._fill():
            raise EOFError("it is truncated")
        data = self._buffer[self._at : self._at + size]
        self._at += len(data)
        return data

    def _fill(self) -> bool:
        if self._at == len(self._buffer):
            self._buffer, self._at = self._stream.read(CHUNK), 0
        return bool(self._buffer)


def records(data: bytes) -> dict[bytes, bytes]:
    """Return the records (``LENGTH KEY=VALUE``) of an extended header; the last of a key counts.

    Raises ValueError if `data` are not such records.
    """
    values: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        blank = data.find(b" ", at, at + 20)
        digits = data[at:blank] if blank > 0 else b""
        end = at + int(digits) if digits.isdigit() else 0
        key, equals, value = data[blank + 1 : end - 1].partition(b"=")
        if not (key and equals) or end > len(data) or data[end - 1 : end] != b"\n":
            raise ValueError("an extended header is broken")
        values[key] = value
        at = end
    return values


def _parse_member(header: bytes, attributes: Mapping[bytes, bytes]) -> Member:
    kind = header[156:157]
    name = attributes.get(b"path") or _name(header)
    path = _text(name)
    if kind == b"S" or any(key.startswith(_SPARSE) for key in attributes):
        raise PiimageError(
            "trees.sparse",
            f"{path!r} is a sparse file",
            hint="write the archive without sparse files (GNU tar: without --sparse)",
        )
    if kind not in _FILES | _HAS_MODE_ONLY:
        raise ValueError(f"{path!r} has the unknown type {_text(kind)!r}")
    if kind in (b"0", b"\0") and name.endswith(b"/"):
        kind = b"5"  # old tars mark a folder by the slash, not by a type
    is_file = kind in _FILES
    return Member(
        path=_bounded(name),
        type="0" if is_file else kind.decode("ascii"),
        mode=_number(header[100:108], "mode", 1 << 40) & 0o7777,
        uid=_attribute(attributes, b"uid", header[108:116], _MAX_ID),
        gid=_attribute(attributes, b"gid", header[116:124], _MAX_ID),
        size=_content_size(header, attributes) if is_file else 0,
        link=_link(attributes.get(b"linkpath") or _field(header, 157, 257), path, kind),
        device=_device(header, kind),
        xattrs=_xattrs(attributes, path),
    )


def _content_size(header: bytes, attributes: Mapping[bytes, bytes]) -> int:
    if header[156:157] not in _FILES:
        return 0
    return _attribute(attributes, b"size", header[124:136], _MAX_SIZE)


def _name(header: bytes) -> bytes:
    name = _field(header, 0, 100)
    # GNU's own format, whose magic ends with blanks, uses the bytes of the prefix otherwise.
    prefix = _field(header, 345, 500) if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _bounded(name: bytes) -> str:
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if len(name) > MAX_PATH:
        _too_long(f"a path has {len(name)} bytes; the limit is {MAX_PATH}")
    if len(parts) > MAX_DEPTH:
        _too_long(f"a path has {len(parts)} parts; the limit is {MAX_DEPTH}")
    longest = max(map(len, parts), default=0)
    if longest > MAX_NAME:
        _too_long(f"a name has {longest} bytes; the limit is {MAX_NAME}")
    return _text(name)


def _link(target: bytes, path: str, kind: bytes) -> str:
    if kind not in (b"1", b"2"):
        return ""
    if not target or b"\0" in target:
        raise ValueError(f"{path!r} is a link without a target")
    if len(target) >= MAX_PATH:
        _too_long(f"the target of a link has {len(target)} bytes; the limit is {MAX_PATH - 1}")
    return _bounded(target) if kind == b"1" else _text(target)


def _device(header: bytes, kind: bytes) -> tuple[int, int]:
    if kind not in (b"3", b"4"):
        return 0, 0
    major = _number(header[329:337], "device number", _MAX_MAJOR)
    return major, _number(header[337:345], "device number", _MAX_MINOR)


def _xattrs(attributes: Mapping[bytes, bytes], path: str) -> dict[str, bytes]:
    xattrs = {}
    for key, value in attributes.items():
        if key.startswith(_XATTR):
            name = key.removeprefix(_XATTR)
            try:
                xattrs[_xattr_name(name)] = value
            except UnicodeDecodeError:
                raise PiimageError(
                    "trees.xattr-name",
                    f"{path!r} has an extended attribute whose name is not UTF-8 ({name!r})",
                    hint="remove the attribute (setfattr -x) and make the archive again",
                ) from None
    return xattrs


def _xattr_name(name: bytes) -> str:
    if not name or b"\0" in name or len(name) > MAX_NAME:
        raise ValueError(f"an extended attribute has the name {name[:40]!r}")
    return name.decode()


def _attribute(attributes: Mapping[bytes, bytes], key: bytes, raw: bytes, maximum: int) -> int:
    """Return the number under `key`; if there is none, the number in the header's field `raw`."""
    value = attributes.get(key)
    name = key.decode()
    if not value:
        return _number(raw, name, maximum)
    if not value.isdigit() or len(value) > 20 or int(value) > maximum:
        raise ValueError(f"invalid {name} {_text(value[:40])!r}")
    return int(value)


def _number(raw: bytes, name: str, maximum: int) -> int:
    if raw[:1] == b"\x80":
        value = int.from_bytes(raw[1:], "big")
    else:
        text = raw.lstrip(b" ").partition(b"\0")[0].rstrip(b" ")
        if text.translate(None, b"01234567"):
            raise ValueError(f"invalid {name} {_text(text)!r}")
        value = int(text, 8) if text else 0
    if value > maximum:
        raise ValueError(f"invalid {name} {value}")
    return value


def _check_sum(header: bytes) -> None:
    stated = _number(header[148:156], "checksum", 1 << 32)
    body = header[:148] + b" " * 8 + header[156:]
    difference = sum(body) - stated
    # Some old implementations add up signed characters.
    if difference and difference != 256 * sum(byte > 127 for byte in body):
        raise ValueError("a header's checksum is wrong")


def _field(header: bytes, start: int, end: int) -> bytes:
    return header[start:end].partition(b"\0")[0]


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _too_long(message: str) -> NoReturn:
    raise PiimageError(
        "trees.too-long",
        message,
        hint="do not use this archive: no Linux file system can hold such a file",
    )
