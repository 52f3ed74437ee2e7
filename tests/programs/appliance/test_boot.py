"""The boot tasks between process 1 and the first container."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.programs.appliance.scripts import Pi

LIST = "/lib/usbcore.ko\n/lib/phy-generic.ko\n/lib/xhci-pci.ko quirks=0x10\n/lib/i2c_dev.ko\n\n"


@pytest.mark.parametrize(
    ("present", "loaded"),
    [
        ([], ["/lib/usbcore.ko", "/lib/phy-generic.ko", "/lib/xhci-pci.ko quirks=0x10"]),
        (["usbcore", "xhci_pci"], ["/lib/phy-generic.ko"]),
        (["usbcore", "phy_generic", "xhci_pci"], []),
    ],
)
def test_modules_that_the_initramfs_loaded_are_passed_over_in_silence(
    tmp_path: Path, present: list[str], loaded: list[str]
) -> None:
    pi = Pi(tmp_path)
    pi.install_library()
    script = pi.install_functions("boot")
    script.write_text(script.read_text().replace("/sys/module", f"{pi.root}/sys/module"))
    pi.write("etc/piimage/modules-late", LIST)
    for name in present:
        pi.path(f"sys/module/{name}/initstate")
    made = pi.path("made")
    pi.sh(f'. {script}; insmod() {{ echo "$*" >>{made}; }}; load_late_modules')
    assert made.read_text().splitlines() == [*loaded, "/lib/i2c_dev.ko"]
    assert pi.console() == []


@pytest.mark.parametrize("name", ["boot", "init"])
def test_a_driver_without_hardware_is_no_fault_and_another_that_fails_is(
    tmp_path: Path, name: str
) -> None:
    """The messages are those of busybox's insmod."""
    pi = Pi(tmp_path)
    pi.install_library()
    script = pi.initramfs_functions() if name == "init" else pi.install_functions("boot")
    failing = "echo \"insmod: can't insert '$1': $2\" >&2; return 1"
    stands_in = f'insmod() {{ {failing}; }}; bb() {{ shift; insmod "$@"; }}'
    pi.sh(
        f". {script}; {stands_in}; load_module /lib/hv_vmbus.ko 'No such device';"
        " load_module /lib/nvme.ko 'invalid module format'"
    )
    assert pi.console() == ["piimage: module /lib/nvme.ko invalid module format did not load"]


def test_a_seal_moves_to_where_no_container_looks_and_begins_every_line(tmp_path: Path) -> None:
    pi = Pi(tmp_path)
    pi.install_library()
    script = pi.install_functions("boot")
    given = pi.write("data/piimage/provision/console-seal", "5ea1\n")
    kept = pi.path("run/piimage/console-seal")
    pi.sh(f". {script}; say before; take_seal; say after")
    assert pi.console() == ["piimage: before", "[5ea1] piimage: after"]
    assert not given.exists()
    assert kept.stat().st_mode & 0o777 == 0o600


def test_a_card_without_a_seal_says_what_it_always_said(tmp_path: Path) -> None:
    pi = Pi(tmp_path)
    pi.install_library()
    script = pi.install_functions("boot")
    pi.sh(f". {script}; take_seal; say hello")
    assert pi.console() == ["piimage: hello"]


# proc_mounts(5): blanks and backslashes in a path are octal.
MOUNTS = r"""overlay / overlay ro 0 0
tmpfs /{root}/a tmpfs rw 0 0
tmpfs /{root}/b\040\134c tmpfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "mounted"),
    [("a", True), ("a/", True), ("link", True), ("b \\c", True), ("b", False), ("none/x", False)],
)
def test_it_is_known_what_is_a_mount_point(tmp_path: Path, path: str, mounted: bool) -> None:
    pi = Pi(tmp_path)
    library = pi.install_library()
    mounts = pi.write("mounts", MOUNTS.replace("/{root}", str(tmp_path)))
    library.write_text(library.read_text().replace("/proc/mounts", str(mounts)))
    for name in ("a/x", "b/x", "b \\c/x"):
        pi.path(name)
    pi.path("link").symlink_to("a")
    script = f". {library}; if is_mounted '{tmp_path}/{path}'; then echo yes; fi"
    assert pi.sh(script) == ("yes\n" if mounted else "")


def test_the_folders_of_disks_are_shared_before_a_disk_comes_and_end_read_only(
    tmp_path: Path,
) -> None:
    pi = Pi(tmp_path)
    pi.install_library()
    script = pi.install_functions("boot")
    pi.write("etc/piimage/disks", "music rw MUSIC\nnotes ro Notes of mine\n")
    note = 'mount() { echo "mount $*"; }; mkdir() { echo "mkdir $*"; };'
    assert pi.sh(f". {script}; {note} make_disk_folders").splitlines() == [
        "mount -t tmpfs -o mode=755,size=64k,nosuid,nodev,noexec tmpfs /media",
        "mount --make-shared /media",
        "mkdir /media/music",
        "mkdir /media/notes",
        "mount -o remount,ro /media",
    ]


def test_without_disks_nothing_is_mounted_for_them(tmp_path: Path) -> None:
    pi = Pi(tmp_path)
    pi.install_library()
    script = pi.install_functions("boot")
    pi.path("etc/piimage/x")
    assert pi.sh(f". {script}; mount() {{ echo no; }}; make_disk_folders") == ""
