from __future__ import annotations

import re
from pathlib import Path

import pytest

from piimage.boards import load_board
from piimage.config.models import Appliance, Entry
from piimage.locking.folders import base_tree, folder_of
from piimage.locking.requests import requests


def asked(folder: Path, text: str) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """The packages that are asked for and left out, by root, for one container folder."""
    (folder / "service.yml").write_text(f"name: {folder.name}\nentrypoint: [/x]\n{text}")
    found = folder_of(Entry(name="x", build=str(folder)))
    assert found is not None
    roots = requests(Appliance(), load_board("qemu-virt"), [found])
    return {one.root: (one.packages, one.without) for one in roots}


def test_a_base_is_asked_for_beside_the_folders_packages(tmp_path: Path) -> None:
    base = base_tree("python")
    found = asked(tmp_path, "base: python\npackages: [python3-spidev]\n")
    assert found["base/python"] == (base.packages, base.without)
    assert found[f"container/{tmp_path.name}"] == (("python3-spidev",), base.without)


def test_what_the_base_goes_without_can_be_named(tmp_path: Path) -> None:
    found = asked(tmp_path, "base: python\npackages: [liblzma5]\nwithout: [libc6]\n")
    packages, without = found[f"container/{tmp_path.name}"]
    assert packages == ("liblzma5",)
    assert without[0] == "libc6"
    assert "liblzma5" not in without
    assert "tzdata" in without


def test_without_a_base_nothing_is_left_out_unasked(tmp_path: Path) -> None:
    assert asked(tmp_path, "packages: [liblzma5]\n")[f"container/{tmp_path.name}"][1] == ()


@pytest.mark.parametrize("library", ["libsqlite3-0", "liblzma5", "libbz2-1.0", "libdb5.3t64"])
def test_the_python_base_says_which_library_an_extension_module_waits_for(library: str) -> None:
    text = Path("bases/python.yml").read_text()
    said = re.sub(r"\n# ?", " ", text.partition("name:")[0])
    assert library in said
    assert library in base_tree("python").without
