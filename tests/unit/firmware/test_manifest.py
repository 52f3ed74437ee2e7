from __future__ import annotations

from pathlib import Path

import pytest

from piimage import resources
from piimage.errors import InputError
from piimage.firmware.manifest import board_of
from piimage.run import Runner
from tests.unit.firmware.cards import card


def test_the_manifest_names_the_board(runner: Runner, tmp_path: Path) -> None:
    image = card(runner, tmp_path / "card.img", {}, {"appliance.json": b'{"board": "pi5"}'})
    assert board_of(image).name == "pi5"


@pytest.mark.parametrize("place", ["boards", "out/boards", "ours"])
def test_a_board_of_the_user_is_found_from_the_card(
    place: str, runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIIMAGE_BOARDS", str(tmp_path / "ours"))
    (tmp_path / "out").mkdir()
    image = card(runner, tmp_path / "out/a.img", {}, {"appliance.json": b'{"board": "shed"}'})
    (tmp_path / place).mkdir()
    pi5 = (resources.path("boards") / "pi5.yml").read_text()
    (tmp_path / place / "shed.yml").write_text(pi5)
    assert board_of(image).name == "shed"


@pytest.mark.provokes("firmware.no-manifest")
@pytest.mark.parametrize(
    "content", [None, b"", b"\xff", b"[]", b'"pi4"', b'{"board": 4}', b"[" * 20_000]
)
def test_a_card_without_a_valid_manifest_is_refused(
    runner: Runner, tmp_path: Path, content: bytes | None
) -> None:
    files = {} if content is None else {"appliance.json": content}
    image = card(runner, tmp_path / "card.img", files)
    with pytest.raises(InputError) as caught:
        board_of(image)
    assert caught.value.code == "firmware.no-manifest"
