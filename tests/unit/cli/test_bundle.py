"""`piimage bundle`: refused without signing, verified with a certificate."""

from __future__ import annotations

from pathlib import Path

import pytest

from piimage.cli.main import execute
from tests.unit.deploy import bundles
from tests.unit.signing_keys import pair


@pytest.mark.provokes("bundle.no-signing")
@pytest.mark.parametrize(
    "words", [["bundle"], ["bundle", "make"], ["build", "--format", "card,bundle"]]
)
def test_a_file_without_signing_has_no_bundle(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "pi4.yml"
    file.write_text("board: pi4\n")
    assert execute([*words, str(file), "-o", str(tmp_path / "out")]) == 2
    assert "bundle.no-signing" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "pi4.lock").exists()


@pytest.mark.provokes("bundle.no-file")
def test_a_bundle_and_a_certificate_have_to_be_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = str(tmp_path / "a.swu")
    assert execute(["bundle", "verify", bundle, "--cert", bundle]) == 2
    assert f"there is no file '{bundle}'" in capsys.readouterr().err


@pytest.mark.slow
def test_a_verified_bundle_is_shown_with_its_version(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIIMAGE_STORE", str(tmp_path / "store"))
    keys = pair(tmp_path, "ours")
    made = bundles.written(bundles.bundle(keys.signer), tmp_path / "greenhouse.swu")
    assert execute(["bundle", "verify", str(made), "--cert", str(keys.certificate)]) == 0
    assert "signed; greenhouse for qemu-virt, version 1.1764374400.0+" in capsys.readouterr().err
