from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from piimage.board import DiskKind, MachineFirmware
from piimage.boards import load_board
from piimage.emulator.drive import Drive
from piimage.emulator.firmware import Firmware, firmware_of, require_firmware
from piimage.emulator.fitting import base_tree, fitted_tree, kernel_command_line, try_flag_at
from piimage.emulator.machine import Machine, accelerated, emulator_of, port_of, within_limits
from piimage.emulator.ports import Forward
from piimage.errors import InputError, MissingTool, PiimageError
from piimage.firmware.bootfiles import BootFiles
from piimage.run import Runner
from tests.unit.firmware.cards import BASE, blob, prop


def machine(board: str, **other: object) -> Machine:
    emulator = emulator_of(load_board(board))
    fields: dict[str, object] = {
        "emulator": emulator,
        "cpus": emulator.cpus.default,
        "memory_mib": emulator.memory_mib.default,
        "kernel": Path("/t/kernel"),
        "initramfs": Path("/t/initrd"),
        "device_tree": Path("/t/tree.dtb"),
        "cmdline": "console=ttyAMA0,115200 quiet",
        "drive": Drive(Path("/t/card.qcow2"), kept=False),
    }
    return Machine(**{**fields, **other})  # type: ignore[arg-type]


def boot_files(tree: bytes | None, *, partition: int = 2, cmdline: str = "quiet") -> BootFiles:
    return BootFiles(partition, "", False, "kernel.img", b"", None, tree, (), cmdline, ())


@pytest.mark.parametrize(
    ("variables", "accelerator"),
    [
        ({}, "tcg,thread=multi"),
        ({"PIIMAGE_ACCELERATOR": ""}, "tcg,thread=multi"),
        ({"PIIMAGE_ACCELERATOR": "tcg,thread=single"}, "tcg,thread=single"),
    ],
)
def test_the_environment_may_name_another_accelerator(
    variables: dict[str, str], accelerator: str
) -> None:
    emulator = accelerated(emulator_of(load_board("qemu-virt")), variables)
    argv = machine("qemu-virt", emulator=emulator).argv(monitor=7)
    assert argv[argv.index("-accel") + 1] == accelerator


def test_the_arguments_of_a_pi_4_are_golden() -> None:
    assert machine("pi4", forwards=(Forward(2222, 22),)).argv(7) == [
        "qemu-system-aarch64",
        "-nodefaults",
        *("-machine", "raspi4b"),
        *("-accel", "tcg,thread=single"),
        *("-smp", "4"),
        *("-m", "2048"),
        *("-kernel", "/t/kernel"),
        *("-initrd", "/t/initrd"),
        *("-dtb", "/t/tree.dtb"),
        *("-append", "console=ttyAMA0,115200 quiet"),
        *("-drive", "if=sd,format=qcow2,cache=unsafe,discard=unmap,file=/t/card.qcow2"),
        *("-netdev", "user,id=net0,hostfwd=tcp:127.0.0.1:2222-:22"),
        *("-device", "usb-net,netdev=net0,mac=b8:27:eb:12:34:56"),
        *("-display", "none"),
        *("-monitor", "none"),
        *("-action", "reboot=shutdown,shutdown=pause"),
        *("-chardev", "socket,id=monitor,fd=7"),
        *("-mon", "chardev=monitor,mode=control"),
        *("-chardev", "stdio,id=console,signal=off"),
        *("-serial", "chardev:console"),
    ]


def test_the_virt_machine_has_its_own_tree_and_devices() -> None:
    words = machine("qemu-virt", device_tree=None, initramfs=None).argv(7)
    assert "-dtb" not in words
    assert "-initrd" not in words
    assert words[words.index("-cpu") + 1] == "cortex-a72"
    devices = [words[at + 1] for at, word in enumerate(words) if word == "-device"]
    assert devices == [
        "virtio-net-pci,netdev=net0,mac=b8:27:eb:12:34:56",
        "virtio-rng-pci",
        "i6300esb",
    ]


@pytest.mark.parametrize(
    ("board", "kind", "devices"),
    [
        ("pi4", DiskKind.USB, ["usb-storage,drive=disk"]),
        ("qemu-virt", DiskKind.USB, ["qemu-xhci", "usb-storage,drive=disk"]),
        (
            "qemu-virt",
            DiskKind.UAS,
            ["qemu-xhci", "usb-uas,id=uas", "scsi-hd,bus=uas.0,drive=disk"],
        ),
        ("qemu-virt", DiskKind.NVME, ["nvme,serial=piimage,drive=disk"]),
        ("arm64-uefi", DiskKind.CD, ["virtio-scsi-pci", "scsi-cd,drive=disk"]),
    ],
)
def test_another_disk_takes_the_place_of_the_card(
    board: str, kind: DiskKind, devices: list[str]
) -> None:
    words = machine(board, kind=kind).argv(7)
    assert [words[at + 1] for at, word in enumerate(words) if word == "-drive"] == [
        "if=none,format=qcow2,cache=unsafe,discard=unmap,file=/t/card.qcow2,id=disk"
    ]
    found = [words[at + 1] for at, word in enumerate(words) if word == "-device"]
    assert found[: len(devices)] == devices


@pytest.mark.provokes("emulator.no-port")
def test_a_pi_4_of_qemu_has_no_nvme() -> None:
    pi4 = emulator_of(load_board("pi4"))
    assert port_of(pi4, DiskKind.CARD) is None
    with pytest.raises(InputError, match="raspi4b cannot boot from nvme") as caught:
        port_of(pi4, DiskKind.NVME)
    assert caught.value.hint.startswith("it can boot from card, usb;")


def test_a_comma_in_a_path_does_not_end_the_option() -> None:
    option = Drive(Path("/a,b/x,readonly=on"), kept=True).option("virtio")
    assert option.endswith("cache=writeback,discard=unmap,file=/a,,b/x,,readonly=on")


@pytest.mark.provokes("emulator.no-machine")
def test_a_pi_5_has_no_emulator() -> None:
    with pytest.raises(InputError, match="Raspberry Pi 5") as caught:
        emulator_of(load_board("pi5"))
    assert caught.value.code == "emulator.no-machine"


@pytest.mark.provokes("emulator.beyond-machine")
def test_a_machine_has_limits() -> None:
    virt, pi4 = (emulator_of(load_board(name)) for name in ("qemu-virt", "pi4"))
    assert within_limits(virt, None, None) == (2, 1024)
    assert within_limits(virt, 8, 2048) == (8, 2048)
    assert within_limits(pi4, 4, 2048) == (4, 2048)
    with pytest.raises(PiimageError) as caught:
        within_limits(pi4, 2, 512)
    assert "--cpus" in str(caught.value)
    assert "--mem" in str(caught.value)
    assert "always has 2048" in str(caught.value)
    with pytest.raises(InputError, match="give a value from 1 to 8") as error:
        within_limits(virt, 0, None)
    assert error.value.code == "emulator.beyond-machine"


EMULATED = "mitigations=off nokaslr"


def test_a_kernel_can_be_told_the_partition_by_a_word() -> None:
    virt, pi3 = (emulator_of(load_board(name)) for name in ("qemu-virt", "pi3"))
    virt = virt.model_copy(update={"chosen": "command-line"})
    assert (
        kernel_command_line(boot_files(None, partition=3), virt, "ttyAMA0")
        == f"quiet {EMULATED} piimage.partition=3"
    )
    assert kernel_command_line(boot_files(None), pi3, "ttyAMA0") == f"quiet {EMULATED}"
    assert kernel_command_line(boot_files(None, cmdline=""), pi3, "ttyAMA0") == EMULATED


def test_a_kernel_on_a_processor_of_the_host_keeps_its_mitigations() -> None:
    kvm = accelerated(emulator_of(load_board("qemu-virt")), {"PIIMAGE_ACCELERATOR": "kvm"})
    assert kernel_command_line(boot_files(None), kvm, "ttyAMA0") == "quiet"


def test_a_card_that_tells_nothing_is_watched_on_the_boards_terminal() -> None:
    pi3 = emulator_of(load_board("pi3"))
    silent = boot_files(None, cmdline="quiet console=tty62 loglevel=0")
    parameters = kernel_command_line(silent, pi3, "ttyAMA0")
    assert parameters == f"quiet console=tty62 loglevel=0 {EMULATED} console=ttyAMA0"


@pytest.mark.parametrize(
    ("kind", "mode"),
    [(DiskKind.CARD, "1"), (DiskKind.USB, "4"), (DiskKind.UAS, "4"), (DiskKind.NVME, "6")],
)
def test_the_tree_is_fitted_and_told_the_partition_and_the_kind_of_disk(
    kind: DiskKind, mode: str, runner: Runner, tmp_path: Path
) -> None:
    pi4 = load_board("pi4")
    pi4 = pi4.model_copy(update={"emulator": emulator_of(pi4).model_copy(update={"fit": ()})})
    base = blob(BASE)
    tree = fitted_tree(base, boot_files(base, partition=3), pi4, runner, kind)
    assert tree is not None
    assert try_flag_at(tree) is None
    file = tmp_path / "tree.dtb"
    file.write_bytes(tree)
    node = "/chosen/bootloader"
    told = ["fdtget", file, node, "partition", node, "boot-mode", node, "tryboot"]
    assert runner.run(told).text.split() == ["3", mode, "0"]


def test_a_machine_whose_firmware_would_change_nothing_keeps_its_own_tree(runner: Runner) -> None:
    virt = load_board("qemu-virt")
    kept = emulator_of(virt).model_copy(update={"chosen": "command-line"})
    assert base_tree(boot_files(None), kept, runner, 2, 1024) is None
    assert fitted_tree(None, boot_files(None), virt, runner) is None
    assert try_flag_at(None) is None


def test_the_tree_of_virt_is_that_of_qemu_and_has_a_place_for_the_flag_of_a_try(
    runner: Runner, tmp_path: Path
) -> None:
    virt = load_board("qemu-virt")
    base = base_tree(boot_files(None), emulator_of(virt), runner, 2, 1024)
    tree = fitted_tree(base, replace(boot_files(None), tryboot=True), virt, runner)
    assert tree is not None
    assert try_flag_at(tree) == 0x40100000
    file = tmp_path / "tree.dtb"
    file.write_bytes(tree)
    told = runner.run(["fdtget", "-t", "x", file, "/reserved-memory/try-flag@40100000", "reg"])
    assert told.text.split() == ["0", "40100000", "0", "1000"]
    node = "/chosen/bootloader"
    told = runner.run(["fdtget", file, node, "partition", node, "tryboot"])
    assert told.text.split() == ["2", "1"]
    # A disk of virtio is none that the initramfs would know by a boot mode.
    assert runner.run(["fdtget", "-p", file, node]).text.split() == ["tryboot", "partition"]


@pytest.mark.parametrize(("kind", "mode"), [(DiskKind.USB, "4"), (DiskKind.NVME, "6")])
def test_the_tree_of_virt_names_the_kind_of_another_disk(
    kind: DiskKind, mode: str, runner: Runner, tmp_path: Path
) -> None:
    virt = load_board("qemu-virt")
    base = base_tree(boot_files(None), emulator_of(virt), runner, 2, 1024)
    tree = fitted_tree(base, boot_files(None), virt, runner, kind)
    assert tree is not None
    assert prop(runner, tree, tmp_path, "/chosen/bootloader", "boot-mode") == mode


@pytest.mark.provokes("firmware.overlay-refused")
def test_a_tree_that_the_fitting_does_not_know_is_refused(runner: Runner) -> None:
    with pytest.raises(PiimageError, match="raspi4b"):
        base = blob(BASE)
        fitted_tree(base, boot_files(base), load_board("pi4"), runner)


def test_a_machine_with_uefi_gets_two_flash_chips_and_no_kernel() -> None:
    firmware = Firmware(Path("/t/code.fd"), Path("/t/a,b.variables"))
    words = machine("arm64-uefi", firmware=firmware).argv(7)
    assert not {"-kernel", "-initrd", "-dtb", "-append"} & set(words)
    assert [words[at + 1] for at, word in enumerate(words) if word == "-drive"] == [
        "if=pflash,unit=0,format=raw,readonly=on,file=/t/code.fd",
        "if=pflash,unit=1,format=raw,file=/t/a,,b.variables",
        "if=virtio,format=qcow2,cache=unsafe,discard=unmap,file=/t/card.qcow2",
    ]


@pytest.mark.provokes("emulator.no-firmware")
def test_a_host_without_the_firmware_is_told_its_package(tmp_path: Path) -> None:
    code = tmp_path / "code.fd"
    code.touch()
    wanted = MachineFirmware(
        code=str(code), variables=f"{tmp_path}/none.fd", package="qemu-efi-aarch64"
    )
    with pytest.raises(MissingTool, match=r"no /.*/none\.fd") as caught:
        require_firmware(wanted, tmp_path)
    assert caught.value.code == "emulator.no-firmware"
    assert "qemu-efi-aarch64" in (caught.value.hint or "")
    require_firmware(None, tmp_path)


def test_the_variables_of_a_machine_last_as_long_as_its_disk(tmp_path: Path) -> None:
    empty = tmp_path / "empty.fd"
    empty.write_bytes(b"empty")
    wanted = MachineFirmware(code="/t/code.fd", variables=str(empty), package="qemu-efi-aarch64")
    drive = Drive(tmp_path / "card.qcow2", kept=True)
    firmware = firmware_of(Runner(), wanted, drive)
    assert firmware is not None and firmware.variables is not None
    assert firmware.variables.read_bytes() == b"empty"
    assert firmware.variables.stat().st_mode & 0o777 == 0o600
    firmware.variables.write_bytes(b"changed")
    assert firmware_of(Runner(), wanted, drive) == firmware
    assert firmware.variables.read_bytes() == b"changed"
