"""The wheel on a clean host: what doctor asks for is what a build needs, and no more is needed.

Ubuntu and Fedora have no packages on Debian's mirrors: for them the names alone are tested
(tests/unit/test_distribution.py).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from piimage.tools import TOOLS
from tests.system.host.roots import Root, debian

TOP = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with piimage's wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", folder, TOP], check=True)
    return folder


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def clean(
    request: pytest.FixtureRequest, wheel: Path, piimage_store: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[str, Root]]:  # fmt: skip
    """A release of Debian with the wheel installed, and nothing else that piimage needs."""
    folder = tmp_path_factory.mktemp("root") / request.param
    shared = ((wheel, "/mnt"), (piimage_store, "/root/store"))
    root = Root(debian(folder, request.param), shared)
    root.run("python3", "-m", "venv", "venv")
    root.run("sh", "-c", "venv/bin/pip -q --disable-pip-version-check install /mnt/*.whl")
    yield request.param, root
    shutil.rmtree(folder)


def test_a_clean_host_is_led_to_a_card(clean: tuple[str, Root]) -> None:
    release, root = clean
    assert (root.folder / "root/venv/share/man/man1/piimage-build.1").is_file()
    root.run("piimage", "new", "greenhouse.yml", "--board", "qemu-virt")
    root.run("piimage", "check", "greenhouse.yml")

    # The first tool that is missing is named with its package.
    stopped = root.run("piimage", "build", "greenhouse.yml", status=3)
    program, package = re.findall(
        r"the program (\S+) is not installed.*apt-get install (\S+)", stopped.stderr
    )[0]
    assert TOOLS[program].package == package

    # Doctor names the rest, in one command for apt, which is run as it is printed.
    told = root.run("piimage", "doctor", status=3).stderr
    assert "[doctor.missing-tools]" in told
    command = re.search(r"install them with: (apt-get install .*)", told)
    assert command, told
    words = command[1].split()
    root.run("apt-get", "-qq", "update")
    root.run(*words, "-y", "-qq", "--no-install-recommends")

    # Debian 12's own QEMU is too old to run cards, which a build does not need.
    if release == "bookworm":
        told = root.run("piimage", "doctor", status=3).stderr
        assert "[emulator.old-qemu]; run apt-get install -t bookworm-backports" in told
        assert "doctor.missing-tools" not in told
    else:
        root.run("piimage", "doctor")
    root.run("piimage", "build", "greenhouse.yml", "-o", "out")
    assert (root.folder / "root/out/greenhouse.img").stat().st_size > 1 << 20

    # Each program does come from the package that messages name; doctor asks for no optional one.
    for name, tool in TOOLS.items():
        if tool.optional:
            continue
        owners = root.run("dpkg", "-S", f"*bin/{name}").stdout.splitlines()
        assert tool.package in [line.partition(":")[0] for line in owners], (name, owners)
