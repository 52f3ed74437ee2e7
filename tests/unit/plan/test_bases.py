from __future__ import annotations

import re
from pathlib import Path

import pytest

from piimage.boards import load_board
from piimage.config.models import Appliance, Entry
from piimage.locking.folders import base_tree, folder_of
from piimage.locking.requests import requests


def requested(folder: Path, text: str) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """The requested and the excluded packages, by root, for a container folder."""
    (folder / "service.yml").write_text(f"name: {folder.name}\nentrypoint: [/x]\n{text}")
    container = folder_of(Entry(name="x", build=str(folder)))
    assert container is not None
    roots = requests(Appliance(), load_board("qemu-virt"), [container])
    return {request.root: (request.packages, request.without) for request in roots}


def test_a_base_is_requested_in_addition_to_the_folders_packages(tmp_path: Path) -> None:
    base = base_tree("python")
    roots = requested(tmp_path, "base: python\npackages: [python3-spidev]\n")
    assert roots["base/python"] == (base.packages, base.without)
    assert roots[f"container/{tmp_path.name}"] == (("python3-spidev",), base.without)


def test_a_package_that_the_base_excludes_can_be_requested(tmp_path: Path) -> None:
    roots = requested(tmp_path, "base: python\npackages: [liblzma5]\nwithout: [libc6]\n")
    packages, without = roots[f"container/{tmp_path.name}"]
    assert packages == ("liblzma5",)
    assert without[0] == "libc6"
    assert "liblzma5" not in without
    assert "tzdata" in without


def test_without_a_base_no_package_is_excluded_by_default(tmp_path: Path) -> None:
    assert requested(tmp_path, "packages: [liblzma5]\n")[f"container/{tmp_path.name}"][1] == ()


@pytest.mark.parametrize("library", ["libsqlite3-0", "liblzma5", "libbz2-1.0", "libdb5.3t64"])
def test_the_comment_of_the_python_base_names_each_library_that_an_extension_module_lacks(
    library: str,
) -> None:
    text = Path("bases/python.yml").read_text()
    comment = re.sub(r"\n# ?", " ", text.partition("name:")[0])
    assert library in comment
    assert library in base_tree("python").without
