"""The SSH host key of a card: OpenSSH's file is read, dropbear's file is made.

Sources: OpenSSH, PROTOCOL.key ("openssh-key-v1"); dropbear, ed25519.c (buf_put_ed25519_priv_key).
"""

from __future__ import annotations

import base64
import binascii
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piimage.errors import InputError
from piimage.run import Runner, word

_MAGIC: Final = b"openssh-key-v1\0"
_KIND: Final = b"ssh-ed25519"
_BEGIN: Final = "-----BEGIN OPENSSH PRIVATE KEY-----"
_END: Final = "-----END OPENSSH PRIVATE KEY-----"


@dataclass(frozen=True)
class HostKey:
    """The key pair of a host; `private` is only in the user's file and on the card."""

    public: str
    """The public key as in known_hosts: ``ssh-ed25519 AAAA…``."""
    private: bytes
    """The private key as dropbear's file."""

    def __repr__(self) -> str:
        return f"HostKey({self.public!r})"


def make_host_key(path: Path, runner: Runner) -> None:
    """Make a new private key pair at `path`, and its folder if that is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    words = ["-q", "-t", "ed25519", "-N", "", "-C", "piimage host key"]
    runner.run(["ssh-keygen", *words, "-f", path])


def read_host_key(path: Path) -> HostKey:
    """Return the key pair in OpenSSH's file `path`: ed25519, without a passphrase.

    Raises InputError ``card.bad-host-key``.
    """
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise _bad(path, "other users can read it", f"chmod 600 {word(path)}")
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise _bad(path, f"it cannot be read ({error})", "give a private key") from None
    try:
        return _parsed(text)
    except (ValueError, struct.error, binascii.Error):
        hint = f"make one: ssh-keygen -t ed25519 -N '' -f {word(path)}"
        raise _bad(path, "it is not an ed25519 key without a passphrase", hint) from None


def _parsed(text: str) -> HostKey:
    body = text.strip().removeprefix(_BEGIN).removesuffix(_END)
    data = base64.b64decode("".join(body.split()), validate=True)
    if not data.startswith(_MAGIC):
        raise ValueError
    cipher, rest = _string(data[len(_MAGIC) :])
    kdf, rest = _string(rest)
    _, rest = _string(rest)
    (count,) = struct.unpack_from(">I", rest)
    public, rest = _string(rest[4:])
    private, _ = _string(rest)
    first, second = struct.unpack_from(">II", private)
    if (cipher, kdf, count) != (b"none", b"none", 1) or first != second:
        raise ValueError
    kind, rest = _string(private[8:])
    own, rest = _string(rest)
    both, _ = _string(rest)
    if kind != _KIND or len(own) != 32 or len(both) != 64 or both[32:] != own:
        raise ValueError
    line = f"{_KIND.decode()} {base64.b64encode(public).decode()}"
    return HostKey(line, struct.pack(">I", len(_KIND)) + _KIND + struct.pack(">I", 64) + both)


def _string(data: bytes) -> tuple[bytes, bytes]:
    """Return the string at the start of `data` (RFC 4251, section 5), and the rest."""
    (size,) = struct.unpack_from(">I", data)
    if size > len(data) - 4:
        raise ValueError
    return data[4 : 4 + size], data[4 + size :]


def _bad(path: Path, reason: str, hint: str) -> InputError:
    message = f"the SSH host key is not usable: {reason}"
    return InputError("card.bad-host-key", message, place=str(path), hint=hint)
