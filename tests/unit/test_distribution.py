"""What the host is by its os-release, and the command that installs packages there."""

from __future__ import annotations

from pathlib import Path

import pytest

from piimage import distribution, tools

# /etc/os-release of fresh installations; only the lines that matter here.
DEBIAN_12 = 'NAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n'
UBUNTU_24 = 'NAME="Ubuntu"\nVERSION_ID="24.04"\nID=ubuntu\nID_LIKE=debian\n'
MINT = 'NAME="Linux Mint"\nID=linuxmint\nID_LIKE="ubuntu debian"\n'
FEDORA = 'NAME="Fedora Linux"\nVERSION_ID=42\nID=fedora\n'
ROCKY = 'NAME="Rocky Linux"\nID="rocky"\nID_LIKE="rhel centos fedora"\n'
ALPINE = 'NAME="Alpine Linux"\nID=alpine\n'


def host(folder: Path, release: str, name: str = "etc/os-release") -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(release)
    return folder


@pytest.mark.parametrize("release", [DEBIAN_12, UBUNTU_24, MINT])
def test_debian_and_its_children_use_apt_with_debians_names(tmp_path: Path, release: str) -> None:
    hint = distribution.install_hint(["xz-utils", "mtools", "mtools"], host(tmp_path, release))
    assert hint == "install them with: apt-get install mtools xz-utils"


@pytest.mark.parametrize("release", [FEDORA, ROCKY])
def test_fedora_and_its_children_use_dnf_with_fedoras_names(tmp_path: Path, release: str) -> None:
    packages = ["xz-utils", "device-tree-compiler", "debian-archive-keyring", "mtools"]
    hint = distribution.install_hint(packages, host(tmp_path, release))
    assert hint == "install them with: dnf install debian-keyring dtc mtools xz"


def test_a_missing_program_is_named_by_its_package_of_the_distribution(tmp_path: Path) -> None:
    fedora = host(tmp_path, FEDORA)
    assert tools.install_hint("ssh", fedora) == "install it with: dnf install openssh-clients"
    assert tools.install_hint("qemu-img", fedora) == "install it with: dnf install qemu-img"


def test_an_unknown_host_is_told_no_command_that_it_lacks(tmp_path: Path) -> None:
    hint = distribution.install_hint(["mtools"], host(tmp_path, ALPINE))
    assert hint.startswith("install it with this system's package manager (Debian's names: mtools)")
    assert distribution.install_hint(["mtools"], tmp_path / "empty") == hint
    assert not any(word in hint for word in ("apt", "dnf"))


def test_the_file_in_etc_counts_before_the_one_in_usr(tmp_path: Path) -> None:
    # os-release(5): "The file /etc/os-release takes precedence over /usr/lib/os-release."
    host(tmp_path, FEDORA, "usr/lib/os-release")
    assert distribution.os_release(tmp_path)["ID"] == "fedora"
    host(tmp_path, ALPINE)
    assert distribution.os_release(tmp_path)["ID"] == "alpine"
