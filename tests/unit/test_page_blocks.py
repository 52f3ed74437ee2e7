"""Every YAML block of a page is read without an error by what reads it here or on a Pi.

A block without `board:` is a part of an appliance's file, and is read as one for a Pi 4. What it
names (container folders, keys, passphrases) exists, with the smallest content.
"""

from __future__ import annotations

import base64
import json
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import bmp280
import pytest
import yaml
from piimage_seed.network_config import read_network_config
from piimage_seed.settings import Settings
from piimage_seed.user_data import read_user_data
from sensorkit.chips import Buses
from sensorkit.options import load

from piimage.config.load import load_all, load_folder, load_module
from piimage.deploy.hosts import read_inventory
from tests.unit import pages
from tests.unit.signing_keys import pair

KEY: Final = struct.pack(">I11sI32s", 11, b"ssh-ed25519", 32, bytes(32))
LINE: Final = f"ssh-ed25519 {base64.b64encode(KEY).decode()}"


class Block(NamedTuple):
    """A block in YAML, and where it begins."""

    page: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{pages.title(self.page)}:{self.line}"


def blocks() -> Iterator[Block]:
    for page in pages.PAGES:
        if page.parent.name in ("decisions", "errors") or page.name == "CHANGELOG.md":
            continue
        for token in pages.tokens(page):
            if token.type == "fence" and token.info == "yaml":
                assert token.map
                yield Block(page, token.map[0] + 1, token.content)


ALL: Final = [*blocks()]


def folders_of(text: str) -> list[str]:
    return re.findall(r"\bbuild: ([\w/]+)", text)


def read_appliance(text: str, folder: Path) -> None:
    for name in folders_of(text):
        (folder / name).mkdir(parents=True)
        if name == "greet":
            (folder / name / "module.yml").write_text("name: greet\nlicense: GPL-2.0-only\n")
            (folder / name / "Kbuild").write_text("obj-m := greet.o\n")
            continue
        (folder / name / "service.yml").write_text(
            f"name: {Path(name).name}\npackages: [busybox-static]\nentrypoint: [/usr/bin/busybox]\n"
        )
    for name in re.findall(r"apparmor: \./([\w.]+)", text):
        (folder / name).write_text("profile own {\n}\n")
    for name in re.findall(r"psk_file: ([\w.]+)", text):
        (folder / name).write_text("correct horse battery\n")
    if "signing:" in text:
        pair(folder, "signing")
    whole = text if re.search(r"^board:", text, re.M) else f"board: pi4\n{text}"
    if "services:" not in whole:
        whole += "services:\n  - { name: web, use: hello_world }\n"
    (folder / "a.yml").write_text(whole)
    load_all([folder / "a.yml"])


def read_service(text: str, folder: Path) -> None:
    document = yaml.safe_load(text)
    (folder / "service.yml").write_text(text)
    (folder / "pyproject.toml").write_text(f'[project]\nname = "{document["name"]}"\n')
    for file in document.get("files", ()):
        (folder / file["source"]).touch()
    load_folder(folder)


def read_module(text: str, folder: Path) -> None:
    (folder / "module.yml").write_text(text)
    load_module(folder)


def read_hosts(text: str, folder: Path) -> None:
    (folder / "hosts.yml").write_text(text)
    read_inventory(folder / "hosts.yml")


def read_users(text: str, folder: Path) -> None:
    assert read_user_data(text.replace("ssh-ed25519 AAAA…", LINE).encode(), Settings()) == []


def read_network(text: str, folder: Path) -> None:
    assert read_network_config(text.encode(), Settings(), radio=True) == []


def read_sensor(text: str, folder: Path) -> None:
    """Read the service's own file; the passphrase that it names is in a container only."""
    secret = folder / "mqtt_password"
    secret.write_text("secret\n")
    here = text.replace("/run/secrets/mqtt_password", str(secret))
    service = bmp280.service(Buses())
    load(service.all_options(), {}, prefix="BMP280_", file=("bmp280.yml", here),
         problems=service.all_problems)  # fmt: skip


def read_foreign(text: str, folder: Path) -> None:
    """A file of another program (GitHub, GitLab, labgrid): tests/unit/test_ci.py looks closer."""
    assert isinstance(yaml.safe_load(text), dict)


def reader(text: str) -> Callable[[str, Path], None]:
    """Return what reads a block, by its first words or its keys."""
    if text.startswith("#cloud-config"):
        return read_users
    document: dict[str, Any] = yaml.safe_load(text)
    keys = set(document)
    if keys & {"jobs", "include", "targets"}:
        return read_foreign
    if "version" in document.get("network", {}):
        return read_network
    for key, read in (("hosts", read_hosts), ("chip", read_sensor)):
        if key in keys:
            return read
    comment = text.partition("\n")[0]
    if "/module.yml" in comment:
        return read_module
    return read_service if "/service.yml" in comment else read_appliance


@pytest.mark.parametrize("block", ALL, ids=str)
def test_a_block_is_valid(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/id_ed25519.pub").write_text(f"{LINE} me@laptop\n")
    reader(block.text)(block.text, tmp_path)


def test_each_kind_of_block_is_read_by_its_reader() -> None:
    """No reader stands in for another one: each has blocks of its own."""
    readers = {str(block): reader(block.text).__name__ for block in ALL}
    assert set(readers.values()) == {
        "read_appliance", "read_foreign", "read_hosts", "read_module", "read_network",
        "read_sensor", "read_service", "read_users",
    }, json.dumps(readers, indent=1)  # fmt: skip
