"""The choice of the engine, QEMU's kernel, and the messages about what is missing."""

from __future__ import annotations

import lzma
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from chipmodels.testing import engines, initramfs, kernels, qemu, uml
from chipmodels.testing.engine import Boot, GuestUnavailable
from hypothesis import given
from hypothesis import strategies as st

MACHINE = "x86_64"


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_without_user_mode_linux_the_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(GuestUnavailable, match="apt-get install user-mode-linux"):
        uml.find(programs=("no-such-program",))
    program = executable(tmp_path / "linux", "#!/bin/sh\necho 6.1.0\n")
    with pytest.raises(GuestUnavailable, match=r"has no modules in .*6\.1\.0"):
        uml.find(programs=(str(program),), modules=tmp_path)
    program.write_text("#!/bin/sh\necho GLIBC_2.38 not found >&2; exit 1\n")
    with pytest.raises(GuestUnavailable, match=r"--version: GLIBC_2\.38 not found"):
        uml.find(programs=(str(program),), modules=tmp_path)
    program.write_text("no program")
    with pytest.raises(GuestUnavailable, match="Exec format error"):
        uml.find(programs=(str(program),), modules=tmp_path)


@pytest.fixture
def kernel(tmp_path: Path) -> Callable[..., Path]:
    """Install a kernel with these modules below `tmp_path`; its image."""

    def install(version: str, *modules: str) -> Path:
        folder = tmp_path / "modules" / version
        folder.mkdir(parents=True)
        (folder / "modules.dep").write_text("".join(f"{name}.ko:\n" for name in modules))
        image = tmp_path / "boot" / f"vmlinuz-{version}"
        image.parent.mkdir(exist_ok=True)
        image.write_bytes(b"kernel")
        return image

    return install


def test_the_newest_kernel_that_has_what_is_needed_is_taken(
    kernel: Callable[..., Path], tmp_path: Path
) -> None:
    boot, modules = tmp_path / "boot", tmp_path / "modules"
    with pytest.raises(GuestUnavailable, match="there is no kernel in"):
        kernels.newest(boot, modules, ("9p",))
    kernel("6.12.9-cloud-amd64", "overlay")
    (boot / "vmlinuz-6.13.0-amd64").write_bytes(b"")
    with pytest.raises(GuestUnavailable) as caught:
        kernels.newest(boot, modules, ("overlay", "9p", "i2c-dev"))
    assert "vmlinuz-6.13.0-amd64 has no modules in" in str(caught.value)
    assert "vmlinuz-6.12.9-cloud-amd64 lacks 9p i2c-dev" in str(caught.value)
    kernel("6.1.0-56-amd64", "9p", "overlay", "i2c_dev")
    kernel("6.1.0-9-amd64", "9p", "overlay", "i2c_dev")
    kernel = kernels.newest(boot, modules, ("overlay", "9p", "i2c-dev"))
    assert kernel.image.name == "vmlinuz-6.1.0-56-amd64"
    assert kernel.modules == modules / "6.1.0-56-amd64"


def packed(payload: bytes, setup: int = 3) -> bytes:
    """An x86 image whose payload starts after `setup` sectors and the first."""
    head = bytearray(((setup or 4) + 1) * 512)
    head[0x1F1] = setup
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<II", head, 0x248, 0, len(payload))
    return bytes(head) + payload


def test_a_kernel_packed_by_xz_is_unpacked_and_others_are_left_alone() -> None:
    elf = b"\x7fELF and so on"
    with_size = lzma.compress(elf) + struct.pack("<I", len(elf))  # as the kernel's build writes it
    assert kernels.unpacked(packed(with_size)) == elf
    assert kernels.unpacked(packed(b"\x28\xb5\x2f\xfdzstd")) is None
    assert kernels.unpacked(packed(lzma.compress(b"no ELF"))) is None
    assert kernels.unpacked(packed(lzma.compress(elf)[:20])) is None
    assert kernels.unpacked(b"MZ" + bytes(4096)) is None


@given(st.binary(max_size=700), st.binary(max_size=64), st.integers(0, 255))
def test_no_image_makes_the_unpacking_fail(start: bytes, payload: bytes, setup: int) -> None:
    for image in (start, packed(payload, setup), packed(b"\xfd7zXZ\0" + payload)):
        kernel = kernels.unpacked(image)
        assert kernel is None or kernel.startswith(b"\x7fELF")


def test_the_archive_holds_what_was_put_in(tmp_path: Path) -> None:
    """The program cpio reads the archive."""
    data = bytes(range(256)) * 5
    archive = initramfs.archive(
        [
            initramfs.File("bin", 0o040755),
            initramfs.File("bin/program", 0o100755, data),
            initramfs.File("empty", 0o100644),
        ]
    )
    subprocess.run(
        ["cpio", "-i", "--quiet", "--no-preserve-owner"], input=archive, cwd=tmp_path, check=True
    )
    assert (tmp_path / "bin" / "program").read_bytes() == data
    assert (tmp_path / "bin" / "program").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "empty").read_bytes() == b""


def elf(interpreter: bool) -> bytes:
    """The head of an ELF64 program with one program header, PT_INTERP or PT_LOAD."""
    head = bytearray(64)
    head[:5] = b"\x7fELF\x02"
    struct.pack_into("<Q", head, 0x20, 64)
    struct.pack_into("<HH", head, 0x36, 56, 1)
    return bytes(head) + struct.pack("<I", 3 if interpreter else 1) + bytes(52)


def test_each_missing_part_of_qemu_is_named_with_the_packages(
    kernel: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot, modules = tmp_path / "boot", tmp_path / "modules"
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))

    def problem(machine: str = MACHINE) -> str:
        with pytest.raises(GuestUnavailable) as caught:
            qemu.find(machine, boot, modules)
        return str(caught.value)

    assert "no machine is configured for riscv64" in problem("riscv64")
    packages = "apt-get install qemu-system-x86 linux-image-amd64 busybox-static"
    assert "qemu-system-x86_64 is not installed" in problem()
    assert packages in problem()
    assert "apt-get install qemu-system-arm linux-image-arm64" in problem("aarch64")
    executable(programs / "qemu-system-x86_64", "")
    busybox = executable(programs / "busybox", "")
    busybox.write_bytes(elf(interpreter=True))
    assert "there is no static busybox" in problem()
    busybox.write_bytes(elf(interpreter=False))
    assert "there is no kernel in" in problem()
    assert packages in problem()
    image = kernel("6.1.0-56-amd64", "virtio_pci", "virtio_console", "9pnet_virtio", "9p",
                   "overlay", "i2c-dev", "cuse")  # fmt: skip
    assert qemu.find(MACHINE, boot, modules).kernel == image


def test_parameters_of_a_guest_go_to_its_kernel(
    kernel: Callable[..., Path], tmp_path: Path
) -> None:
    boot = Boot(tmp_path, tmp_path / "init", 64, 0, parameters=("lsm=apparmor", "apparmor=1"))
    linux = uml.UserModeLinux(tmp_path / "linux", tmp_path)
    assert linux.command(boot)[-2:] == ["lsm=apparmor", "apparmor=1"]
    image = kernel("6.1.0-56-amd64", "virtio_pci", "virtio_console", "9pnet_virtio", "9p")
    modules = tmp_path / "modules" / "6.1.0-56-amd64"
    for name in ("virtio_pci", "virtio_console", "9pnet_virtio", "9p"):
        (modules / f"{name}.ko").write_bytes(b"")
    board = qemu.Board("qemu", (), ("console=ttyS0",), ("", ""))
    emulator = qemu.Qemu(board, tmp_path / "qemu", image, modules, executable(tmp_path / "sh", ""))
    words = emulator.command(boot)
    assert words[words.index("-append") + 1].endswith(" console=ttyS0 lsm=apparmor apparmor=1")


@pytest.fixture
def program(tmp_path: Path) -> uml.UserModeLinux:
    """A fake user-mode Linux that notes that it was started, and ends with what `said` holds."""
    (tmp_path / "said").write_text("Kernel panic - not syncing")
    text = f"#!/bin/sh\necho once >>{tmp_path}/starts\ncat {tmp_path}/said\n"
    return uml.UserModeLinux(executable(tmp_path / "linux.uml", text), tmp_path)


def test_an_engine_that_dies_is_tried_once_and_its_words_remembered(
    program: uml.UserModeLinux, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    first = engines.remembered(program, cache)
    assert first is not None
    assert "does not start on this processor" in first
    assert "Kernel panic - not syncing" in first
    assert engines.remembered(program, cache) == first
    assert (tmp_path / "starts").read_text() == "once\n"
    executable(program.program, program.program.read_text() + "# another version\n")
    engines.remembered(program, cache)
    assert (tmp_path / "starts").read_text() == "once\nonce\n"


def test_without_a_folder_to_remember_in_it_is_tried_each_time(
    program: uml.UserModeLinux, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    for _ in range(2):
        assert engines.remembered(program, tmp_path / "file" / "cache") is not None
    assert (tmp_path / "starts").read_text() == "once\nonce\n"


def test_an_engine_that_is_late_is_not_remembered_as_broken(
    program: uml.UserModeLinux, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_TRY_SECONDS", 0.2)
    executable(program.program, "#!/bin/sh\nexec sleep 60\n")
    reason = engines.remembered(program, tmp_path / "cache")
    assert reason is not None
    assert "did not start within 0.2 s" in reason
    assert not (tmp_path / "cache").exists()
