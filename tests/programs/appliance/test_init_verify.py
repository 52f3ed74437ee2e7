"""`verify: boot`: layers whose bytes changed, and the way to the other slot."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.programs.appliance.scripts import Pi


@pytest.fixture
def pi(tmp_path: Path) -> Pi:
    return Pi(tmp_path)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _slot(pi: Pi, **layers: str) -> dict[str, str]:
    """Write layers into the slot under the digest of their text; return the digests by name."""
    digests = {name: _digest(text) for name, text in layers.items()}
    for name, text in layers.items():
        pi.write(f"slot/layers/{digests[name]}.squashfs", text)
    return digests


def _damage(pi: Pi, digest: str) -> None:
    pi.path(f"slot/layers/{digest}.squashfs").write_text("rotten")


def test_a_layer_whose_bytes_changed_is_not_mounted_and_named(pi: Pi) -> None:
    init = pi.initramfs_functions()
    layers = _slot(pi, good="one", bad="two")
    _damage(pi, layers["bad"])
    pi.path("run/piimage/layers/x").touch()
    mount = f'. {init}; SLOT={pi.root}/slot; bb() {{ [ "$1" = mount ] || busybox "$@"; }}'
    for verify, expected in (("0", "0 0"), ("1", "0 1")):
        script = "; ".join(f"mount_layer {digest}; printf '%s ' $?" for digest in layers.values())
        assert pi.sh(f"{mount}; VERIFY={verify}; {script}").strip() == expected
        pi.sh(f"rm -rf {pi.root}/run/piimage/layers/*")
    (line,) = pi.console()
    assert line.startswith("piimage: DAMAGED: ")
    assert line.endswith(f"/slot/layers/{layers['bad']}.squashfs has not the digest in its name")


def _contained(pi: Pi, top: str, *parts: str) -> None:
    """Have the containers layer `top`, mounted already, consist of layers; two share them all."""
    for name in ("a", "b"):
        text = "".join(f"{part}\n" for part in parts)
        pi.write(f"run/piimage/layers/{top}/services/{name}/layers", text)


@pytest.mark.parametrize("verify", ["0", "1"])
def test_all_layers_of_the_slots_containers_are_checked(pi: Pi, verify: str) -> None:
    init = pi.initramfs_functions()
    layers = _slot(pi, top="top", one="one", two="two")
    _contained(pi, layers["top"], layers["one"], layers["two"])
    pi.write("etc/piimage/containers-layer", f"{layers['top']}\n")
    start = (
        f". {init}; SLOT={pi.root}/slot; VERIFY={verify}; "
        'fail() { echo "failed: $*"; exit; }; choose_containers; say_whole 120'
    )
    pi.sh(start)
    counted = {"0": "0 layers are whole", "1": "2 layers are whole"}[verify]
    assert pi.console() == [f"piimage: {counted}; checked and mounted in 1200 ms"]
    pi.path("run/piimage/containers").unlink()
    _damage(pi, layers["two"])
    assert pi.sh(start) == {"0": "", "1": "failed: the slot is damaged\n"}[verify]


def test_a_damaged_generation_gives_way_to_the_slots_containers(pi: Pi) -> None:
    init = pi.initramfs_functions()
    init.write_text(init.read_text().replace("ROOT=/root", f"ROOT={pi.root}/root"))
    layers = _slot(pi, slot="slot", deployed="deployed", part="part")
    for name in ("slot", "deployed"):
        _contained(pi, layers[name], *([layers["part"]] if name == "deployed" else []))
    store = "root/data/piimage"
    texts = {"containers": f"{layers['deployed']}\n", "base": f"{layers['slot']}\n", "good": ""}
    for file, text in texts.items():
        pi.write(f"{store}/generations/g1/{file}", text)
    pi.path(f"{store}/current.{layers['slot']}").symlink_to("generations/g1")
    pi.write(f"{store}/layers/{layers['part']}.squashfs", "rotten")
    pi.write("etc/piimage/containers-layer", f"{layers['slot']}\n")
    out = pi.sh(
        f". {init}; SLOT={pi.root}/slot; VERIFY=1; choose_containers; echo $CONTAINERS_FROM"
    )
    assert out == "slot\n"
    assert any("g1: layer" in line or "current" in line for line in pi.console())


@pytest.mark.parametrize(
    ("settings", "boots", "flag", "told"),
    [
        ("VERIFY=1; SLOT_PARTITION=2", 3, "1", "the other slot, {root}/dev/vda3, is next"),
        ("VERIFY=1; SLOT_PARTITION=3", 2, "1", "the other slot, {root}/dev/vda2, is next"),
        ("VERIFY=1; SLOT_PARTITION=2", 0, "0", "there is no other slot to go to"),
        ("VERIFY=1; SLOT_PARTITION=1", 3, "0", "there is no other slot to go to"),
        ("VERIFY=1; SLOT_PARTITION=2; TRYBOOT=1", 3, "0", ""),
        ("VERIFY=0; SLOT_PARTITION=2", 3, "0", ""),
    ],
)
def test_a_slot_that_fails_is_left_for_one_that_has_a_file_system(
    pi: Pi, settings: str, boots: int, flag: str, told: str
) -> None:
    init = pi.initramfs_functions()
    # Partitions are files here.
    init.write_text(init.read_text().replace("[ -b ", "[ -f "))
    for number in (1, 2, 3):
        end = b"\x55\xaa" if number == boots else bytes(2)
        pi.path(f"dev/vda{number}").write_bytes(bytes(510) + end)
    pi.write("flag", "0")
    disk = f"TRY_FLAG={pi.root}/flag; SLOT_DISK={pi.root}/dev/vda; SLOT_PREFIX="
    pi.sh(f". {init}; {disk}; {settings}; leave_slot")
    assert pi.path("flag").read_text().strip() == flag
    assert pi.console() == ([f"piimage: {told.format(root=pi.root)}"] if told else [])


@pytest.mark.parametrize(
    ("own", "whole", "flag", "told"),
    [
        ("a/", "b", "1", "the other slot, b/, is next"),
        ("b/", "a", "1", "the other slot, a/, is next"),
        ("a/", "a", "0", "there is no other slot to go to"),
    ],
)
def test_a_folder_that_fails_is_left_for_one_that_has_a_version(
    pi: Pi, own: str, whole: str, flag: str, told: str
) -> None:
    init = pi.initramfs_functions()
    pi.path(f"state/slot/{whole}/layers/x").write_text("")
    pi.write("flag", "0")
    settings = f"TRY_FLAG={pi.root}/flag; STATE={pi.root}/state; VERIFY=1; SLOT_DISK=/dev/x"
    pi.sh(f". {init}; {settings}; SLOT_PARTITION=1; SLOT_PREFIX={own}; leave_slot")
    assert pi.path("flag").read_text().strip() == flag
    assert pi.console() == [f"piimage: {told}"]


def test_firmware_that_does_not_take_the_flag_leaves_no_other_slot(pi: Pi) -> None:
    init = pi.initramfs_functions()
    init.write_text(init.read_text().replace("[ -b ", "[ -f "))
    pi.path("dev/vda3").write_bytes(bytes(510) + b"\x55\xaa")
    settings = f"VERIFY=1; SLOT_PREFIX=; SLOT_PARTITION=2; SLOT_DISK={pi.root}/dev/vda"
    pi.sh(f". {init}; TRY_FLAG={pi.root}/missing/flag; {settings}; leave_slot")
    assert pi.console() == ["piimage: there is no other slot to go to"]
