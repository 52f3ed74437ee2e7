"""Host keys for cards, held against OpenSSH's and dropbear's own tools."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piimage.card.hostkey import _parsed, make_host_key, read_host_key
from piimage.errors import InputError
from piimage.run import Runner


def test_a_key_that_was_made_is_read_and_nobody_else_may(tmp_path: Path, runner: Runner) -> None:
    path = tmp_path / "secrets" / "host"
    make_host_key(path, runner)
    assert path.stat().st_mode & 0o777 == 0o600
    found = read_host_key(path)
    assert path.with_suffix(".pub").read_text().startswith(found.public + " ")
    assert "private" not in repr(found)


def test_dropbears_form_is_the_seed_and_the_public_key(tmp_path: Path, runner: Runner) -> None:
    path = tmp_path / "host"
    make_host_key(path, runner)
    found = read_host_key(path)
    assert found.private[:15] == struct.pack(">I", 11) + b"ssh-ed25519"
    assert found.private[15:19] == struct.pack(">I", 64)
    assert len(found.private) == 83
    # The public half, as the other file has it.
    import base64

    assert base64.b64decode(found.public.split()[1]).endswith(found.private[-32:])
    if (tool := shutil.which("dropbearkey")) is not None:
        (tmp_path / "dropbear").write_bytes(found.private)
        said = subprocess.run(
            [tool, "-y", "-f", tmp_path / "dropbear"], capture_output=True, check=True
        )
        assert found.public in said.stdout.decode()


@pytest.mark.provokes("card.bad-host-key")
def test_a_key_of_another_kind_is_refused(tmp_path: Path, runner: Runner) -> None:
    kinds = {"rsa": ["-t", "rsa", "-N", ""], "locked": ["-t", "ed25519", "-N", "secret"]}
    for name, words in kinds.items():
        runner.run(["ssh-keygen", "-q", *words, "-f", tmp_path / name])
        with pytest.raises(InputError, match="no ed25519 key without a passphrase"):
            read_host_key(tmp_path / name)


@pytest.mark.provokes("card.bad-host-key")
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, runner: Runner) -> None:
    path = tmp_path / "host"
    make_host_key(path, runner)
    path.chmod(0o644)
    with pytest.raises(InputError, match="others may read it"):
        read_host_key(path)


@given(st.binary(max_size=200))
def test_what_is_no_key_is_refused_without_a_traceback(data: bytes) -> None:
    import base64
    import binascii

    for text in (data.decode("latin-1"), base64.b64encode(b"openssh-key-v1\0" + data).decode()):
        with pytest.raises((ValueError, struct.error, binascii.Error)):
            _parsed(text)
