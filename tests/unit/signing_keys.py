"""Keys for the tests of signatures, made by openssl."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from piimage.signing import Signer

RSA = ("-newkey", "rsa:2048")


@dataclass(frozen=True)
class Pair:
    """A private key and its certificate."""

    key: Path
    certificate: Path

    @property
    def signer(self) -> Signer:
        return Signer(str(self.key), self.certificate)


def pair(folder: Path, name: str, kind: tuple[str, ...] = RSA) -> Pair:
    """Make a key. All certificates have the same subject: only the key tells them apart."""
    made = Pair(folder / f"{name}.key", folder / f"{name}.pem")
    subprocess.run(
        ["openssl", "req", "-x509", *kind, "-nodes", "-days", "1", "-subj", "/CN=greenhouse",
         "-keyout", made.key, "-out", made.certificate],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    return made


def checks(data: bytes, signature: bytes, trusted: bytes, folder: Path) -> bool:
    """Say whether openssl accepts a signature by one of the `trusted` certificates."""
    names = {"data": data, "signature": signature, "trusted": trusted}
    for name, content in names.items():
        (folder / name).write_bytes(content)
    done = subprocess.run(
        ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", "signature", "-content",
         "data", "-certfile", "trusted", "-nointern", "-noverify", "-out", "/dev/null"],
        cwd=folder, capture_output=True, check=False, timeout=120,
    )  # fmt: skip
    return done.returncode == 0
