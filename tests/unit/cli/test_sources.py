"""The options that say where inputs come from: the same for every verb that builds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from piimage import events
from piimage.cli import main as cli
from piimage.debian import mirror
from piimage.locking import Sources
from piimage.run import Runner
from piimage.store import Store

SOURCES = {"--mirror", "--snapshot", "--offline", "--keyring", "--insecure-registry",
           "--registry-certs"}  # fmt: skip


@pytest.mark.parametrize("verb", ["lock", "build", "run", "test", "flash"])
def test_a_verb_that_builds_takes_every_source(verb: str) -> None:
    command: Any = cli.command(verb)
    assert {name for one in command.params for name in one.opts} >= SOURCES


@pytest.mark.provokes("debian.no-keyring")
def test_the_keyring_that_is_named_is_the_one_that_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIIMAGE_STORE", str(tmp_path / "store"))
    file = tmp_path / "a.yml"
    file.write_text("board: qemu-virt\n")
    missing = tmp_path / "none.gpg"
    assert cli.execute(["lock", str(file), "--offline", "--keyring", str(missing)]) == 1
    assert str(missing) in capsys.readouterr().err
    assert not file.with_suffix(".lock").exists()


def test_offline_does_not_ask_the_host_where_its_archive_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: object) -> None:
        raise AssertionError("the host's sources were read")

    monkeypatch.setattr(mirror, "_of_host", asked)
    store = Store(tmp_path)
    sources = Sources(store, Runner(), events.ignore, lambda: 0.0, offline=True)
    assert sources.fetcher().mirrors is None
    with pytest.raises(AssertionError, match="were read"):
        Sources(store, Runner(), events.ignore, lambda: 0.0).mirrors()
