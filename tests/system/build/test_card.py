"""The finished cards, held against tools and validators that nobody here wrote."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from tests.system.conftest import Built

SECTOR = 512
BOARDS = ("pi4", "pi5", "zero2w")
FAT_TYPES = {"6", "b", "c", "e"}


@dataclass(frozen=True)
class Partition:
    start: int
    size: int
    type: str


def run(*argv: object, **options: object) -> str:
    done = subprocess.run(
        [str(word) for word in argv], capture_output=True, text=True, check=False, **options
    )  # type: ignore[call-overload]
    assert done.returncode == 0, f"{argv}\n{done.stdout}{done.stderr}"
    return str(done.stdout)


def partitions(image: Path) -> list[Partition]:
    table = json.loads(run("sfdisk", "--json", image))["partitiontable"]["partitions"]
    return [Partition(p["start"] * SECTOR, p["size"] * SECTOR, p["type"]) for p in table]


@contextmanager
def cut(image: Path, part: Partition, folder: Path) -> Iterator[Path]:
    """A copy of one partition, sparse."""
    target = folder / f"part-{part.start}"
    run("dd", f"if={image}", f"of={target}", "bs=1M", "conv=sparse", "status=none",
        "iflag=skip_bytes,count_bytes", f"skip={part.start}", f"count={part.size}")  # fmt: skip
    os.truncate(target, part.size)
    yield target
    target.unlink()


def files_of(fat: Path, folder: Path) -> dict[str, Path]:
    folder.mkdir()
    run("mcopy", "-s", "-n", "-i", fat, "::*", folder)
    return {str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", BOARDS)
def test_the_partition_table_is_sound(built: Built, name: str) -> None:
    image = built(name)
    assert "No errors detected" in run("sfdisk", "--verify", image)
    assert len(partitions(image)) == (2 if name == "zero2w" else 4)


@pytest.mark.parametrize("name", BOARDS)
def test_every_file_system_is_clean(built: Built, name: str, tmp_path: Path) -> None:
    image = built(name)
    kinds = []
    for part in partitions(image):
        with cut(image, part, tmp_path) as file:
            if part.type in FAT_TYPES:
                run("fsck.vfat", "-n", file)
            else:
                run("e2fsck", "-fn", file)
            kinds.append(part.type in FAT_TYPES)
    assert kinds == ([True, False] if name == "zero2w" else [True, True, True, False])


@pytest.mark.parametrize("name", BOARDS)
def test_the_slot_holds_what_its_manifest_lists(built: Built, name: str, tmp_path: Path) -> None:
    image = built(name)
    with cut(image, partitions(image)[0 if name == "zero2w" else 1], tmp_path) as fat:
        files = files_of(fat, tmp_path / "slot")
    prefix = "a/" if name == "zero2w" else ""
    listed = json.loads(files[f"{prefix}appliance.json"].read_text())
    assert listed["board"] == name
    for path, digest in listed["files"].items():
        assert run("sha256sum", files[prefix + path]).split()[0] == digest
    layers = [path for path in files if path.endswith(".squashfs")]
    assert {Path(path).stem for path in layers} == {
        *listed["system"], listed["containers"],
        *(layer for layers in listed["services"].values() for layer in layers),
    }  # fmt: skip
    for path in layers:
        assert Path(path).stem == run("sha256sum", files[path]).split()[0]
        run("unsquashfs", "-d", tmp_path / "unpacked", "-f", "-no-xattrs", files[path])
    assert (tmp_path / "unpacked" / "usr" / "bin" / "hello").is_file()
    assert (tmp_path / "unpacked" / "usr" / "sbin" / "finit").is_file()


def test_bmaptool_copies_the_card_by_its_map(built: Built, tmp_path: Path) -> None:
    image = built("pi4")
    target = tmp_path / "copy.img"
    target.touch()
    run("bmaptool", "copy", "--bmap", image.with_suffix(".bmap"), image, target)
    os.truncate(target, image.stat().st_size)
    run("cmp", image, target)


def test_the_hello_card_writes_less_than_75_mb(built: Built) -> None:
    image = built("pi4")
    assert image.stat().st_blocks * SECTOR < 75e6


@pytest.mark.parametrize("name", BOARDS)
def test_the_bills_of_materials_are_valid(built: Built, name: str) -> None:
    image = built(name)
    spdx = image.with_suffix(".sbom.spdx.json")
    faults = validate_full_spdx_document(parse_file(str(spdx)))
    assert [fault.validation_message for fault in faults] == []
    text = image.with_suffix(".sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    named = {part["name"] for part in json.loads(text)["components"]}
    assert {"containerd", "crun", "finit", "busybox-static"} <= named


def test_the_manifest_says_from_what_each_file_of_the_layers_came(
    built: Built, tmp_path: Path
) -> None:
    image = built("pi4")
    files = json.loads(image.with_suffix(".manifest.json").read_text())["files"]
    assert files["the system (packages): /usr/bin/crun"]["from"].startswith("pkg:deb/debian/crun@")
    assert files["slot: kernel.img"]["from"].startswith("pkg:deb/debian/linux-image")
    with cut(image, partitions(image)[1], tmp_path) as fat:
        slot = files_of(fat, tmp_path / "slot")
    assert {f"slot: {path}" for path in slot} == {p for p in files if p.startswith("slot: ")}
    for path, file in slot.items():
        assert files[f"slot: {path}"]["sha256"] == run("sha256sum", file).split()[0]
