"""`piimage flash` in piimage's container image, which cannot reach the cards of the computer."""

from __future__ import annotations

import pytest

from piimage.cli import main as cli


@pytest.mark.provokes("flash.in-container")
@pytest.mark.parametrize(
    ("files", "remedy"),
    [
        (
            ["base.yml", "my shed.yml"],
            "run `piimage build base.yml 'my shed.yml' -o out`; then write 'out/my shed.img' with "
            "Raspberry Pi Imager",
        ),
        (["out/shed.img"], "; write out/shed.img with Raspberry Pi Imager"),
    ],
)
def test_a_card_is_handed_over_to_imager(
    files: list[str], remedy: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("PIIMAGE_CONTAINER", "1")
    assert cli.execute(["flash", "/dev/disk4", *files]) == 4
    message = capsys.readouterr().err
    assert "/dev/disk4: a container cannot reach this computer's card reader" in message
    assert remedy in message


def test_a_device_that_the_container_has_is_judged_as_anywhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIIMAGE_CONTAINER", "1")
    assert cli.execute(["flash", "/dev/null", "x.img"]) == 4
    assert "flash.not-a-device" in capsys.readouterr().err
