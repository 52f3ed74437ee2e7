from __future__ import annotations

import hashlib
import json
import lzma
import shutil
import subprocess
from pathlib import Path

import pytest

from piimage.boards import board_names, load_board
from piimage.card.bmap import BlockMap
from piimage.card.image import Card
from piimage.config.models import Appliance
from piimage.errors import InputError
from piimage.formats.chosen import parse
from piimage.formats.imager import write_listing
from piimage.plan.containers import plan_containers
from piimage.plan.slot import Version
from piimage.plan.system import plan_system
from tests.unit.plan.locks import lock_of

# What the lists that Raspberry Pi Imager comes with have for models that run 64-bit systems.
TAGS = {"pi3-64bit", "pi4-64bit", "pi5-64bit"}


def version(name: str) -> Version:
    data = {"hostname": "greenhouse", "services": [{"name": "hello", "use": "hello_world"}]}
    appliance = Appliance.model_validate(data)
    board = load_board(name)
    lock = lock_of(appliance, board)
    return Version(
        "pi4", appliance, board, plan_system(appliance, board, lock, {}),
        plan_containers(appliance, lock, {}),
    )  # fmt: skip


def card(folder: Path) -> Card:
    image = folder / "pi4.img"
    with image.open("wb") as file:
        file.write(b"card" * 1000)
        file.truncate(1 << 22)
    return Card(image, image.with_suffix(".bmap"), BlockMap(1 << 22, ()))


@pytest.mark.slow
def test_the_list_offers_the_packed_card_with_its_digests(tmp_path: Path) -> None:
    made = card(tmp_path)
    packed, listing = write_listing(made, version("pi4"), "https://pi.example/cards/")
    assert packed.name == "pi4.img.xz"
    assert subprocess.run(["xz", "-t", packed], check=False).returncode == 0
    assert lzma.decompress(packed.read_bytes()) == made.image.read_bytes()
    assert listing.name == "pi4.rpi-imager.json"
    (entry,) = json.loads(listing.read_text())["os_list"]
    assert (entry["name"], entry["description"]) == ("greenhouse", "Raspberry Pi 4: hello")
    assert entry["url"] == "https://pi.example/cards/pi4.img.xz"
    assert entry["devices"] == ["pi4-64bit"]
    assert entry["extract_sha256"] == hashlib.sha256(made.image.read_bytes()).hexdigest()
    assert entry["image_download_sha256"] == hashlib.sha256(packed.read_bytes()).hexdigest()


def test_the_same_card_is_packed_to_the_same_bytes(tmp_path: Path) -> None:
    first = write_listing(card(tmp_path), version("pi4"), "https://x")[0].read_bytes()
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    assert write_listing(card(tmp_path), version("pi4"), "https://x")[0].read_bytes() == first


def test_every_pi_has_a_tag_that_imager_knows() -> None:
    tags = {name: set(load_board(name).imager) for name in board_names()}
    assert {name for name, found in tags.items() if not found} == {"arm64-uefi", "qemu-virt"}
    assert set().union(*tags.values()) <= TAGS


@pytest.mark.provokes("formats.no-pi")
def test_what_is_no_pi_is_not_listed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a Raspberry Pi") as caught:
        write_listing(card(tmp_path), version("qemu-virt"), "https://x")
    assert caught.value.code == "formats.no-pi"
    assert [path.name for path in tmp_path.iterdir()] == ["pi4.img"]


@pytest.mark.provokes("formats.imager-url")
@pytest.mark.parametrize(
    ("form", "url"), [("card", "x"), ("card", ""), ("card", "ftp://x"), ("tar", "https://x/y")]
)
def test_what_imager_cannot_download_is_refused(form: str, url: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(form, imager_url=url)
    assert caught.value.code == "formats.imager-url"
