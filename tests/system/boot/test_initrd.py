"""The format kernel+initrd: QEMU starts it as LinuxKit's users do, without any disk."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

from tests.system.boot.conftest import PATIENCE, Command

QEMU = (
    *("qemu-system-aarch64", "-nodefaults", "-machine", "virt", "-cpu", "cortex-a72"),
    *("-smp", "2", "-m", "1024", "-display", "none", "-no-reboot", "-serial", "stdio"),
)


def console_until(argv: list[str], text: str) -> str:
    """Return what QEMU's console shows until a line holds `text`, or all that it shows."""
    lines: list[str] = []
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace",
    ) as machine:  # fmt: skip
        clock = threading.Timer(PATIENCE, machine.kill)
        clock.start()
        try:
            assert machine.stdout is not None
            for line in machine.stdout:
                lines.append(line)
                if text in line:
                    break
        finally:
            clock.cancel()
            machine.kill()
    return "".join(lines)


def test_kernel_and_initrd_say_hello_without_a_disk(
    piimage: Command, project_folder: Path, tmp_path: Path
) -> None:
    file = project_folder / "examples" / "qemu-virt.yml"
    done = piimage(["build", file, "-o", tmp_path, "--format", "kernel+initrd"])
    assert done.returncode == 0, done.stderr
    kernel, initrd, cmdline = (tmp_path / f"qemu-virt-{name}" for name in
                               ("kernel", "initrd.img", "cmdline"))  # fmt: skip
    words = ["-kernel", str(kernel), "-initrd", str(initrd), "-append", cmdline.read_text().strip()]
    shown = console_until([*QEMU, *words], "HELLO from")
    assert "HELLO from" in shown, shown[-4000:]
    assert "piimage: slot initramfs, containers from slot" in shown
    assert "piimage: /data is temporary: this image has no disk" in shown
    assert "DATA LOST" not in shown
    assert "FAILED" not in shown
