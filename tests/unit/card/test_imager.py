from __future__ import annotations

import hashlib
import json
import lzma
import os
import subprocess
from pathlib import Path

from piimage.card.imager import Listing, encode

# The fields that doc/json-schema/os-list-schema.json of rpi-imager requires in an entry.
REQUIRED = {
    "name": str,
    "description": str,
    "icon": str,
    "url": str,
    "extract_size": int,
    "extract_sha256": str,
    "image_download_size": int,
    "release_date": str,
}


def test_an_entry_has_the_fields_that_imager_requires(tmp_path: Path) -> None:
    image = tmp_path / "pi 4.img"
    image.write_bytes(b"card" * 5000)
    packed = tmp_path / "pi 4.img.xz"
    packed.write_bytes(lzma.compress(image.read_bytes()))
    listing = Listing("greenhouse", "sensors", devices=["pi4-64bit"])
    read = json.loads(encode(listing, image, packed, "https://example.org/images/"))
    (entry,) = read["os_list"]
    for name, kind in REQUIRED.items():
        assert isinstance(entry[name], kind), name
    assert entry["url"] == "https://example.org/images/pi%204.img.xz"
    assert entry["extract_size"] == 20000
    assert entry["extract_sha256"] == hashlib.sha256(b"card" * 5000).hexdigest()
    assert entry["image_download_size"] == packed.stat().st_size
    output = subprocess.run(["sha256sum", packed], check=True, capture_output=True).stdout
    assert output.split()[0].decode() == entry["image_download_sha256"]
    assert entry["devices"] == ["pi4-64bit"]


def test_a_name_that_is_not_utf8_is_quoted(tmp_path: Path) -> None:
    image = tmp_path / os.fsdecode(b"n\xff.img")
    image.write_bytes(b"card")
    (entry,) = json.loads(encode(Listing("a", "b"), image, image, "https://x/"))["os_list"]
    assert entry["url"] == "https://x/n%FF.img"


def test_holes_count_as_zeros(tmp_path: Path) -> None:
    image = tmp_path / "x.img"
    with image.open("wb") as file:
        file.truncate(1 << 20)
    (entry,) = json.loads(encode(Listing("x", "x"), image, image, "https://a"))["os_list"]
    assert entry["extract_sha256"] == hashlib.sha256(bytes(1 << 20)).hexdigest()


def test_an_image_that_is_offered_as_it_is(tmp_path: Path) -> None:
    image = tmp_path / "pi.img"
    image.write_bytes(b"card")
    (entry,) = json.loads(encode(Listing("a", "b"), image, image, "https://x//"))["os_list"]
    digest = hashlib.sha256(b"card").hexdigest()
    assert entry == {
        "name": "a", "description": "b", "icon": "", "url": "https://x/pi.img",
        "extract_size": 4, "extract_sha256": digest,
        "image_download_size": 4, "image_download_sha256": digest,
        "release_date": "2025-01-01", "init_format": "none", "devices": [],
    }  # fmt: skip
