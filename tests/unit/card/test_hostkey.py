"""Host keys for cards, compared with OpenSSH's and dropbear's own tools."""

from __future__ import annotations

import base64
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piimage.card.hostkey import _parsed, _string, make_host_key, read_host_key
from piimage.errors import InputError
from piimage.run import Runner


def test_a_new_key_is_private_and_can_be_read(tmp_path: Path, runner: Runner) -> None:
    path = tmp_path / "secrets" / "host"
    make_host_key(path, runner)
    assert path.stat().st_mode & 0o777 == 0o600
    key = read_host_key(path)
    assert path.with_suffix(".pub").read_text().startswith(key.public + " ")
    assert "private" not in repr(key)


def test_dropbears_file_has_the_seed_and_the_public_key(tmp_path: Path, runner: Runner) -> None:
    path = tmp_path / "host"
    make_host_key(path, runner)
    key = read_host_key(path)
    assert key.private[:15] == struct.pack(">I", 11) + b"ssh-ed25519"
    assert key.private[15:19] == struct.pack(">I", 64)
    assert len(key.private) == 83
    # The public half is that of the other file.
    assert base64.b64decode(key.public.split()[1]).endswith(key.private[-32:])
    if (tool := shutil.which("dropbearkey")) is not None:
        (tmp_path / "dropbear").write_bytes(key.private)
        done = subprocess.run(
            [tool, "-y", "-f", tmp_path / "dropbear"], capture_output=True, check=True
        )
        assert key.public in done.stdout.decode()


@pytest.mark.slow
@pytest.mark.provokes("card.bad-host-key")
def test_a_key_of_another_kind_is_refused(tmp_path: Path, runner: Runner) -> None:
    kinds = {"rsa": ["-t", "rsa", "-N", ""], "locked": ["-t", "ed25519", "-N", "secret"]}
    for name, words in kinds.items():
        runner.run(["ssh-keygen", "-q", *words, "-f", tmp_path / name])
        with pytest.raises(InputError, match="not an ed25519 key without a passphrase"):
            read_host_key(tmp_path / name)


@pytest.mark.provokes("card.bad-host-key")
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, runner: Runner) -> None:
    path = tmp_path / "host"
    make_host_key(path, runner)
    path.chmod(0o644)
    with pytest.raises(InputError, match="other users can read it"):
        read_host_key(path)


def _packed(*parts: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def _key(
    *,
    cipher: bytes = b"none",
    kdf: bytes = b"none",
    count: int = 1,
    checks: tuple[int, int] = (7, 7),
    kind: bytes = b"ssh-ed25519",
    own: bytes = b"p" * 32,
    both: bytes = b"s" * 32 + b"p" * 32,
) -> str:
    """Return a key file by OpenSSH's PROTOCOL.key."""
    public = _packed(kind, own)
    private = struct.pack(">II", *checks) + public + _packed(both, b"comment")
    head = b"openssh-key-v1\0" + _packed(cipher, kdf, b"") + struct.pack(">I", count)
    body = base64.b64encode(head + _packed(public, private)).decode()
    return f"-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----\n"


def test_a_key_by_the_protocol_is_read() -> None:
    head = struct.pack(">I", 11) + b"ssh-ed25519" + struct.pack(">I", 64)
    assert _parsed(_key()).private == head + b"s" * 32 + b"p" * 32


@pytest.mark.parametrize(
    "wrong",
    [
        {"cipher": b"aes256-ctr"},
        {"kdf": b"bcrypt"},
        {"count": 2},
        {"checks": (7, 8)},
        {"kind": b"ssh-ed448x!"},
        {"own": b"p" * 31, "both": b"s" * 33 + b"p" * 31},
        {"both": b"s" * 31 + b"p" * 32},
        {"both": b"s" * 32 + b"q" * 32},
    ],
)
def test_a_key_with_one_wrong_part_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^$"):
        _parsed(_key(**wrong))


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_without_a_traceback(data: bytes) -> None:
    import binascii

    for text in (data.decode("latin-1"), base64.b64encode(b"openssh-key-v1\0" + data).decode()):
        with pytest.raises((ValueError, struct.error, binascii.Error)):
            _parsed(text)


@pytest.mark.provokes("card.bad-host-key")
@pytest.mark.parametrize("mode", [0o640, 0o620, 0o610, 0o604, 0o602, 0o601])
def test_no_right_of_others_is_accepted(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a host"
    path.write_text(_key())
    path.chmod(0o400)
    assert read_host_key(path).public.startswith("ssh-ed25519 ")
    path.chmod(mode)
    with pytest.raises(InputError, match="other users can read it") as caught:
        read_host_key(path)
    assert caught.value.hint == f"chmod 600 '{path}'"


@pytest.mark.provokes("card.bad-host-key")
def test_a_key_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "host"
    with pytest.raises(InputError, match="it cannot be read"):
        read_host_key(path)
    path.write_bytes(b"\xff")
    path.chmod(0o600)
    with pytest.raises(InputError, match="it cannot be read"):
        read_host_key(path)


def test_a_new_key_says_what_it_is_for(tmp_path: Path, runner: Runner) -> None:
    make_host_key(tmp_path / "host", runner)
    assert (tmp_path / "host.pub").read_text().endswith(" piimage host key\n")


@pytest.mark.parametrize(
    ("data", "parts"),
    [(b"\0\0\0\2ab", (b"ab", b"")), (b"\0\0\0\1ab", (b"a", b"b")), (b"\0\0\0\0", (b"", b""))],
)
def test_strings_of_ssh(data: bytes, parts: tuple[bytes, bytes]) -> None:
    """RFC 4251, section 5: the length as four bytes, then the bytes."""
    assert _string(data) == parts
    with pytest.raises(ValueError, match=r"^$"):
        _string(b"\0\0\0\3ab")
