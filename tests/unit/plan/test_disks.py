"""The section `disks:` as files and modules of the system."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from piimage.boards import load_board
from piimage.config.models import Appliance
from piimage.plan.disks import disk_files, disk_modules

DISKS = [
    {"name": "music", "label": "MUSIC"},
    {"name": "notes", "label": "Notes of mine", "readonly": True},
]


def appliance(**fields: object) -> Appliance:
    return Appliance.model_validate({"board": "pi4", **fields})


def files(found: Appliance) -> dict[str, str]:
    return {file.path: str(file.content, "utf-8") for file in disk_files(found)}


def test_each_disk_is_a_line_with_its_label_last() -> None:
    found = files(appliance(disks=DISKS))
    assert set(found) == {"etc/piimage/disks", "etc/finit.d/_disks.conf"}
    assert found["etc/piimage/disks"] == "music rw MUSIC\nnotes ro Notes of mine\n"


def test_without_disks_nothing_runs_and_nothing_is_loaded() -> None:
    assert files(appliance()) == {}
    assert disk_modules(appliance(), load_board("pi4")) == ()


def test_the_drivers_of_usb_disks_are_loaded_though_the_card_is_in_its_slot() -> None:
    found = disk_modules(appliance(disks=DISKS), load_board("pi4"))
    assert {"xhci-pci", "usb-storage", "uas", "sd_mod", "ext4", "vfat", "exfat"} <= {*found}


def test_a_kernel_of_the_file_brings_its_own_drivers() -> None:
    own = appliance(disks=DISKS, kernel={"image": "registry.example.org/kernel:v1"})
    assert disk_modules(own, load_board("pi4")) == ()


def test_no_container_can_have_the_name_of_the_systems_program() -> None:
    """Process 1 would run only one of two services of one name."""
    (name,) = re.findall(r" name:(\S+) ", files(appliance(disks=DISKS))["etc/finit.d/_disks.conf"])
    with pytest.raises(ValidationError):
        appliance(services=[{"name": name, "packages": ["x"]}])
