"""What `piimage run` shows of the console."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from piimage.board import Board, DiskKind
from piimage.boards import load_board
from piimage.card.ext4 import DataFile
from piimage.cli import main as cli
from piimage.cli import run as command
from piimage.cli.run import _Screen, with_secrets
from piimage.emulator.session import Options
from piimage.flash.able import Capabilities
from piimage.run import Runner

if TYPE_CHECKING:
    from piimage.locking.inputs import Inputs


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        ([b"a\r\nHEL", b"LO"], b"a\r\nHELLO\r\n"),
        ([b"HELLO\r\n"], b"HELLO\r\n"),
        ([], b""),
    ],
)
def test_the_last_line_is_ended_once_and_nothing_stands_within_it(
    pieces: list[bytes], shown: bytes, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    screen = _Screen()
    for piece in pieces:
        screen.show(piece)
    screen.end_line()
    assert capfdbinary.readouterr().out == shown


@pytest.mark.provokes("emulator.secret-and-disk-file")
def test_a_secret_does_not_go_to_a_card_that_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "token").write_text("precious")
    words = ["--secret", f"token={tmp_path}/token", "--disk-file", str(tmp_path / "disk")]
    assert cli.execute(["run", "x.img", *words]) == 2
    error = capsys.readouterr().err
    assert "piimage secret set" in error
    assert "precious" not in error


def test_secrets_are_written_to_a_copy_that_ends_with_the_run(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[object] = []
    able = Capabilities(wifi=False, settings=frozenset(), secrets=frozenset({"token", "other"}))
    monkeypatch.setattr(command, "capabilities_of", lambda image: able)
    monkeypatch.setattr(command, "board_of", lambda image: load_board("qemu-virt"))
    written: list[Mapping[str, DataFile]] = []

    def card_with(runner: Runner, image: Path, board: Board, folder: Path, files: Any) -> Path:
        written.append(files)
        (folder / "card.img").write_text("copy")
        return folder / "card.img"

    monkeypatch.setattr(command, "card_with", card_with)
    image = tmp_path / "x.img"
    inputs = cast("Inputs", SimpleNamespace(runner=runner, emit=events.append))
    with with_secrets(image, {}, inputs) as path:
        assert path == image
    with with_secrets(image, {"token": b"precious"}, inputs) as path:
        assert path.read_text() == "copy"
        assert path.parent.stat().st_mode & 0o777 == 0o700
    assert not path.exists()
    assert [*written[0]] == ["piimage/provision/secrets", "piimage/provision/secrets/token"]
    warned = [str(event) for event in events]
    assert "the secret other is not set: add --secret other=FILE" in warned[-1]
    assert not any("precious" in line for line in warned)


@pytest.mark.parametrize(
    ("start", "words", "kind"),
    [
        (b"\1CD001", [], DiskKind.CD),
        (b"\1CD001", ["--from", "usb"], DiskKind.USB),
        (b"", [], DiskKind.CARD),
    ],
)
def test_an_iso_is_booted_as_a_cd_unless_the_user_names_another_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: bytes, words: list[str], kind: DiskKind
) -> None:
    image = tmp_path / "a.iso"
    image.write_bytes(bytes(32768) + start)
    booted: list[DiskKind] = []

    @contextmanager
    def boot(image: Path, board: Board, runner: Runner, options: Options, **_: Any) -> Any:
        booted.append(options.kind)
        yield SimpleNamespace(ssh_port=None, wait_for=lambda text, timeout: text)

    monkeypatch.setattr(command, "boot", boot)
    monkeypatch.setattr(command, "board_of", lambda image: load_board("arm64-uefi"))
    monkeypatch.setenv("PIIMAGE_STORE", str(tmp_path / "store"))
    assert cli.execute(["run", str(image), "--until", "x", *words]) == 0
    assert booted == [kind]
