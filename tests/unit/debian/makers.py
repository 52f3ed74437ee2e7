"""Small .debs and signed archives, made by the tests."""

from __future__ import annotations

import hashlib
import io
import lzma
import shutil
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

from piimage.debian.package import Package

NOW = datetime(2026, 5, 17, 12, 0, tzinfo=UTC)


def tar(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def ar(members: Sequence[tuple[str, bytes]]) -> bytes:
    out = b"!<arch>\n"
    for name, data in members:
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode()
        out += data + b"\n" * (len(data) % 2)
    return out


def gz(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return packer.compress(data) + packer.flush()


def control(fields: Mapping[str, str]) -> bytes:
    return "".join(f"{name}: {value}\n" for name, value in fields.items()).encode()


@dataclass(frozen=True)
class Deb:
    """A package to make; `fields` are further control fields."""

    name: str
    version: str = "1.0"
    architecture: str = "arm64"
    fields: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=lambda: {"./etc/hello": b"hello\n"})

    @property
    def control(self) -> dict[str, str]:
        own = {"Package": self.name, "Version": self.version, "Architecture": self.architecture}
        return own | {"Maintainer": "Someone <someone@example.org>"} | dict(self.fields)

    @property
    def content(self) -> bytes:
        return ar(
            [
                ("debian-binary", b"2.0\n"),
                ("control.tar.xz", lzma.compress(tar({"./control": control(self.control)}))),
                ("data.tar.xz", lzma.compress(tar(self.files))),
            ]
        )

    @property
    def path(self) -> str:
        file = f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"
        return f"pool/main/{self.name[0]}/{self.name}/{file}"

    def package(self, suite: str = "trixie") -> Package:
        content = self.content
        return Package(
            self.name, self.version, self.architecture, self.path, len(content),
            hashlib.sha256(content).hexdigest(), self.name, self.version, suite,
        )  # fmt: skip

    @property
    def stanza(self) -> str:
        content = self.content
        file = {
            "Filename": self.path,
            "Size": str(len(content)),
            "SHA256": hashlib.sha256(content).hexdigest(),
        }
        return control(self.control | file).decode()


@dataclass(frozen=True)
class Signer:
    """A temporary key."""

    home: Path
    keyring: Path

    def sign(self, text: str) -> bytes:
        return self._gpg("--clearsign", data=text.encode())

    def signature(self, text: str) -> bytes:
        """Return the packet of a detached text signature of `text`, as in a clear signature."""
        return self._gpg("--textmode", "--detach-sign", data=text.encode().rstrip(b"\n"))

    def _gpg(self, *words: str, data: bytes = b"") -> bytes:
        argv = ["gpg", "--homedir", str(self.home), "--batch", "--quiet", *words]
        return subprocess.run(argv, input=data, capture_output=True, check=True).stdout


@contextmanager
def signer() -> Iterator[Signer]:
    """Yield a new key; afterwards, end its agent and remove its files."""
    # Not pytest's folder: the path of the agent's socket may have only 100 characters.
    home = Path(tempfile.mkdtemp(prefix="gpg"))
    key = Signer(home, home / "keyring.gpg")
    try:
        key._gpg("--passphrase", "", "--quick-gen-key", "test@example.org", "ed25519", "sign")
        key.keyring.write_bytes(key._gpg("--export"))
        yield key
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)
        shutil.rmtree(home, ignore_errors=True)


@dataclass
class ArchiveFolder:
    """A signed archive in a folder."""

    root: Path
    signer: Signer

    def publish(
        self,
        debs: Sequence[Deb],
        suite: str = "trixie",
        *,
        date: datetime = NOW - timedelta(hours=1),
        valid_until: datetime | None = NOW + timedelta(days=7),
        by_hash: bool = True,
        codename: str = "",
        packages: str | None = None,
        architectures: Sequence[str] = ("arm64",),
        compression: str = ".xz",
    ) -> None:
        """Write the suite's indexes and the packages."""
        for deb in debs:
            file = self.root / deb.path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(deb.content)
        digests = ""
        for architecture in architectures:
            listed = [deb for deb in debs if deb.architecture in (architecture, "all")]
            text = packages if packages is not None else "\n".join(deb.stanza for deb in listed)
            pack = {".xz": lzma.compress, ".gz": gz, "": bytes}[compression]
            name = f"main/binary-{architecture}/Packages{compression}"
            digests += self._index(suite, name, pack(text.encode()), by_hash)
        fields = {
            "Origin": "Test",
            "Suite": "stable",
            "Codename": codename or suite,
            "Date": format_datetime(date, usegmt=True),
            "Components": "main",
            "Architectures": " ".join(architectures),
        }
        if valid_until:
            fields["Valid-Until"] = format_datetime(valid_until, usegmt=True)
        if by_hash:
            fields["Acquire-By-Hash"] = "yes"
        self.release(suite).write_bytes(
            self.signer.sign(control(fields).decode() + f"SHA256:\n{digests}")
        )

    def release(self, suite: str = "trixie") -> Path:
        return self.root / "dists" / suite / "InRelease"

    def _index(self, suite: str, name: str, data: bytes, by_hash: bool) -> str:
        sha256 = hashlib.sha256(data).hexdigest()
        plain = self.root / "dists" / suite / name
        file = plain.parent / "by-hash" / "SHA256" / sha256 if by_hash else plain
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return f" {sha256} {len(data)} {name}\n"
