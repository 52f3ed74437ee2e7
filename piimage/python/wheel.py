"""Turns a wheel into entries of a tree, at the paths where Debian's pip would install it.

Source: "Binary distribution format", "Recording installed projects" and "Entry points" of the
Python packaging specifications. A wheel is untrusted: whatever the format does not allow is
refused, and none of its code is run.
"""

from __future__ import annotations

import base64
import configparser
import csv
import hashlib
import io
import re
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import Final

from packaging.utils import canonicalize_name, parse_wheel_filename

from piimage import host
from piimage.errors import PiimageError
from piimage.store import CHUNK
from piimage.trees import Entry, Kind, clean_path, file

PREFIX: Final = "usr/local"
"""Debian's prefix for files that belong to no package (its scheme ``posix_local``)."""

_MAX_FILES: Final = 50_000
_MAX_SMALL: Final = 16 << 20
_MAX_RECORD: Final = 8 << 20  # the largest number of files, 160 bytes each
_MAX_TEXT: Final = 1 << 20  # for files that are parsed as a whole
# No wheel for a Pi has a gibibyte; zeros compress to a thousandth.
_MAX_TOTAL: Final = 1 << 30
_STREAMS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_SIGNATURES: Final = ("RECORD.jws", "RECORD.p7s")
_SCRIPT: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_OBJECT: Final = re.compile(r"([\w.]+)\s*(?::\s*([\w.]+))?\s*(?:\[[\w\s,.-]*\])?")
_PYTHON: Final = re.compile(rb"#!pythonw?(?=[ \r\n])")
# e_machine of the ELF header, by Debian's names.
_ELF: Final = {"arm64": 183, "amd64": 62}
_INTERPRETER: Final = "/usr/bin/python3"
Rows = list[tuple[str, str, str]]


@dataclass(frozen=True)
class Wheel:
    """The wheel file at `path` whose name is `filename`, for CPython ``3.minor`` (`python`)."""

    path: Path
    filename: str
    python: str
    architecture: str = "arm64"

    @property
    def site(self) -> str:
        """The folder of importable packages."""
        return site(self.python)

    def entries(self) -> Iterator[Entry]:
        """Give all files that the wheel installs, without their folders.

        Raises PiimageError ``python.wheel-damaged`` for content that a wheel must not have: paths
        that leave it, links, bombs, files that its RECORD does not list or lists with another
        digest, and code for another machine.
        """
        with self._blaming(), zipfile.ZipFile(self.path) as archive:
            yield from _Reader(self, archive).entries()

    @contextmanager
    def _blaming(self) -> Iterator[None]:
        try:
            yield
        except (
            zipfile.BadZipFile, zlib.error, ValueError, KeyError, EOFError, OSError, RuntimeError,
            NotImplementedError, csv.Error, configparser.Error,
        ) as error:  # fmt: skip
            host.raise_host_error(error, self.filename)
            raise self.refused(str(error) or type(error).__name__) from error
        except PiimageError as error:
            if error.code == "python.wheel-damaged" or error.code.startswith("host."):
                raise
            raise self.refused(error.message) from error

    def refused(self, why: str) -> PiimageError:
        """Return the error for a wheel that must not be installed."""
        return PiimageError(
            "python.wheel-damaged",
            f"this wheel cannot be used: {why}",
            place=self.filename,
            hint="do not use this version: no honest tool writes such a wheel",
        )


def site(python: str) -> str:
    """Return the folder of importable packages of CPython ``3.minor``."""
    return f"{PREFIX}/lib/python{python}/dist-packages"


class _Reader:
    """One pass over a wheel's archive."""

    def __init__(self, wheel: Wheel, archive: zipfile.ZipFile) -> None:
        name, version, _, _ = parse_wheel_filename(wheel.filename)
        self._wheel = wheel
        self._archive = archive
        self._members = _members(archive)
        self._info = self._folder(".dist-info", str(name), str(version))
        self._hashes = self._record()
        self._rows: Rows = []

    def entries(self) -> Iterator[Entry]:
        self._check_format()
        for path, member in self._members.items():
            if path == f"{self._info}/RECORD" or path.endswith(_signatures(self._info)):
                continue
            yield self._installed(path, member)
        for script, target in sorted(self._scripts().items()):
            yield self._own(f"{PREFIX}/bin/{script}", launcher(target), 0o755)
        info = f"{self._wheel.site}/{self._info}"
        yield self._own(f"{info}/INSTALLER", b"piimage\n")
        yield file(f"{info}/RECORD", record(f"{info}/RECORD", self._rows, self._wheel.site))

    # --- metadata

    def _folder(self, suffix: str, name: str, version: str) -> str:
        """Return the only folder ``NAME-VERSION.suffix``, which must be of this distribution."""
        tops = {path.partition("/")[0] for path in self._members}
        found = [top for top in tops if top.endswith(suffix)]
        if len(found) != 1:
            raise ValueError(f"it has {len(found)} folders {suffix}")
        stated = found[0].removesuffix(suffix).partition("-")[0]
        if canonicalize_name(stated) != name:
            raise ValueError(f"{found[0]} is not of {name} {version}")
        return found[0]

    def _check_format(self) -> None:
        fields = BytesHeaderParser().parsebytes(self._small(f"{self._info}/WHEEL", _MAX_TEXT))
        version = str(fields.get("Wheel-Version", ""))
        if version.partition(".")[0] != "1":
            raise ValueError(f"its format version is {version!r}")

    def _record(self) -> Mapping[str, str]:
        """Return the digest of each file that RECORD lists; "" if it states none."""
        data = io.BytesIO(self._small(f"{self._info}/RECORD", _MAX_RECORD))
        found: dict[str, str] = {}
        for row in csv.reader(io.TextIOWrapper(data, "utf-8", newline="")):
            if len(row) != 3:
                raise ValueError("its RECORD has a line without exactly three fields")
            if (path := clean_path(row[0])) in self._members:
                found[path] = row[1]
        return found

    def _scripts(self) -> Mapping[str, str]:
        path = f"{self._info}/entry_points.txt"
        if path not in self._members:
            return {}
        return scripts(self._small(path, _MAX_TEXT).decode())

    # --- files

    def _installed(self, path: str, member: zipfile.ZipInfo) -> Entry:
        target, is_script = self._target(path)
        executable = is_script or bool(member.external_attr >> 16 & stat.S_IXUSR)
        self._verify(path, member)
        if is_script and member.file_size <= _MAX_SMALL:
            data = self._archive.read(member)
            return self._own(target, _PYTHON.sub(f"#!{_INTERPRETER}".encode(), data, 1), 0o755)
        self._rows.append((target, self._hashes[path], str(member.file_size)))
        return Entry(
            clean_path(target),
            Kind.FILE,
            0o755 if executable else 0o644,
            size=member.file_size,
            content=lambda: self._chunks(member),
        )

    def _target(self, path: str) -> tuple[str, bool]:
        """Return the target path of a file of the archive, and whether it is a script."""
        top, _, rest = path.partition("/")
        if not top.endswith(".data"):
            return f"{self._wheel.site}/{path}", False
        if f"{top.removesuffix('.data')}.dist-info" != self._info:
            raise ValueError(f"{top} is not of this distribution")
        scheme, _, inner = rest.partition("/")
        name = self._info.partition("-")[0]
        places = {
            "purelib": self._wheel.site,
            "platlib": self._wheel.site,
            "scripts": f"{PREFIX}/bin",
            "headers": f"{PREFIX}/include/python{self._wheel.python}/{name}",
            "data": PREFIX,
        }
        if scheme not in places or not inner:
            raise ValueError(f"it installs {path} where no wheel may install a file")
        if scheme == "scripts" and _SCRIPT.fullmatch(inner) is None:
            raise ValueError(f"a script has the invalid name {inner!r}")
        return f"{places[scheme]}/{inner}", scheme == "scripts"

    def _verify(self, path: str, member: zipfile.ZipInfo) -> None:
        """Refuse a file that RECORD does not list, or lists with another digest."""
        if path not in self._hashes:
            raise ValueError(f"its RECORD does not list {path}")
        name, equals, expected = self._hashes[path].partition("=")
        if not equals or name not in ("sha256", "sha384", "sha512"):
            raise ValueError(f"its RECORD has no digest of {path}")
        digest, size = hashlib.new(name), 0
        for chunk in self._chunks(member):
            if not size:
                self._check_machine(path, chunk)
            digest.update(chunk)
            size += len(chunk)
        if size != member.file_size:
            raise ValueError(f"{path} has {size} bytes, not the stated {member.file_size}")
        if _encoded(digest.digest()) != expected:
            raise ValueError(f"{path} does not match its digest in RECORD")

    def _check_machine(self, path: str, start: bytes) -> None:
        machine = _ELF[self._wheel.architecture].to_bytes(2, "little")
        if start[:4] == b"\x7fELF" and start[18:20] != machine:
            raise ValueError(f"{path} is code for another machine")

    def _own(self, path: str, data: bytes, mode: int = 0o644) -> Entry:
        """Return the entry of a file that is not in the wheel, and record it."""
        digest = _encoded(hashlib.sha256(data).digest())
        self._rows.append((path, f"sha256={digest}", str(len(data))))
        return file(path, data, mode)

    def _chunks(self, member: zipfile.ZipInfo) -> Iterator[bytes]:
        with self._archive.open(member) as stream:
            while data := stream.read(CHUNK):
                yield data

    def _small(self, path: str, most: int) -> bytes:
        if path not in self._members:
            raise ValueError(f"it has no {path}")
        member = self._members[path]
        if member.file_size > most:
            raise ValueError(f"{path} is too large")
        return self._archive.read(member)


def _members(archive: zipfile.ZipFile) -> Mapping[str, zipfile.ZipInfo]:
    """Return the files of the archive by their clean paths, sorted."""
    found: dict[str, zipfile.ZipInfo] = {}
    members = archive.infolist()
    if len(members) > _MAX_FILES or sum(member.file_size for member in members) > _MAX_TOTAL:
        raise ValueError("it unpacks to too many files or bytes")
    for member in members:
        name = member.orig_filename
        if name.endswith("/"):
            continue
        path = clean_path(name)
        kind = stat.S_IFMT(member.external_attr >> 16)
        if name != path or "\\" in path or not path.isprintable():
            raise ValueError(f"a file has the invalid name {name!r}")
        if kind not in (0, stat.S_IFREG):
            raise ValueError(f"{path} is not a regular file")
        if member.flag_bits & 1 or member.compress_type not in _STREAMS:
            raise ValueError(f"{path} is packed in a way that wheels do not allow")
        if path in found:
            raise ValueError(f"{path} comes twice")
        found[path] = member
    return dict(sorted(found.items()))


def _signatures(info: str) -> tuple[str, ...]:
    return tuple(f"{info}/{name}" for name in _SIGNATURES)


def scripts(text: str) -> Mapping[str, str]:
    """Return the programs of an ``entry_points.txt``: what each calls (``module:function``).

    Raises ValueError for an invalid name or object reference.
    """
    parser = configparser.ConfigParser(
        delimiters=("=",), interpolation=None, strict=False, default_section="\0"
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
    parser.read_string(text)
    found: dict[str, str] = {}
    for section in ("console_scripts", "gui_scripts"):
        if parser.has_section(section):
            found |= dict(parser.items(section))
    for name, target in found.items():
        launcher(target)
        if _SCRIPT.fullmatch(name) is None:
            raise ValueError(f"a program has the invalid name {name!r}")
    return found


def launcher(target: str) -> bytes:
    """Return the script that calls ``module:function``; raises ValueError for another form.

    The script names its interpreter by path, so that PATH and Python's variables do not select
    another.
    """
    match = _OBJECT.fullmatch(target.strip())
    if match is None or match[2] is None:
        raise ValueError(f"the object reference {target!r} of a program is invalid")
    module, called = match[1], match[2]
    first = called.partition(".")[0]
    return (
        f"#!{_INTERPRETER}\nimport sys\n\nfrom {module} import {first}\n\n"
        f'if __name__ == "__main__":\n    sys.exit({called}())\n'
    ).encode()


def record(path: str, rows: Iterable[tuple[str, str, str]], folder: str) -> bytes:
    """Return a RECORD of files (path, digest, size), each path relative to `folder`."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for where, digest, size in sorted(rows):
        writer.writerow((_relative(where, folder), digest, size))
    writer.writerow((_relative(path, folder), "", ""))
    return out.getvalue().encode()


def recorded(path: str, data: bytes) -> tuple[str, str, str]:
    """Return the row of RECORD for a file with `data`."""
    return path, f"sha256={_encoded(hashlib.sha256(data).digest())}", str(len(data))


def _relative(path: str, folder: str) -> str:
    if path.startswith(f"{folder}/"):
        return path.removeprefix(f"{folder}/")
    up = folder.removeprefix(f"{PREFIX}/").count("/") + 1
    return "../" * up + path.removeprefix(f"{PREFIX}/")


def _encoded(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
