"""The repository file that adds an image to Raspberry Pi Imager's list of systems.

Source: ``doc/json-schema/os-list-schema.json`` of rpi-imager. Imager checks the SHA-256 of the
whole image, holes as zeros, and takes .img, .img.xz, .img.gz and .img.zst.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from piimage.clock import EPOCH
from piimage.jsons import json_bytes


@dataclass(frozen=True)
class Listing:
    """The entry of an image: `devices` are tags of models (``pi4-64bit``), `icon` is a URL.

    `customisable` tells whether the Pi reads the settings that Imager asks for.
    """

    name: str
    description: str
    icon: str = ""
    devices: Sequence[str] = ()
    customisable: bool = False


def encode(listing: Listing, image: Path, download: Path, folder_url: str) -> bytes:
    """Return the repository JSON for `image`, offered as `download` below `folder_url`.

    `download` is the image itself or its compressed form; the URL ends with its file name.
    """
    with image.open("rb") as file:
        unpacked = hashlib.file_digest(file, "sha256").hexdigest()
    entry = {
        "name": listing.name,
        "description": listing.description,
        "icon": listing.icon,
        "url": f"{folder_url.rstrip('/')}/{quote(os.fsencode(download.name))}",
        "extract_size": image.stat().st_size,
        "extract_sha256": unpacked,
        "image_download_size": download.stat().st_size,
        "image_download_sha256": _digest(download) if download != image else unpacked,
        "release_date": datetime.fromtimestamp(EPOCH, UTC).strftime("%Y-%m-%d"),
        # cloud-init's form is the one that Imager 1 and 2 both know (os_customisation_formats.md).
        "init_format": "cloudinit" if listing.customisable else "none",
        "devices": list(listing.devices),
    }
    return json_bytes({"os_list": [entry]})


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
