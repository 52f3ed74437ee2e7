"""The firmware of an emulated machine that reads its disk itself, such as UEFI or U-Boot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from piimage import distribution
from piimage.board import MachineFirmware
from piimage.emulator.drive import Drive
from piimage.emulator.variables import one_shot_entry
from piimage.errors import MissingTool
from piimage.firmware.systemd_boot import TRIED
from piimage.run import Runner


@dataclass(frozen=True)
class Firmware:
    """The firmware of QEMU's machine virt: in two flash chips if it has variables."""

    code: Path
    variables: Path | None = None
    """The store of variables, which the guest changes."""

    def options(self) -> Sequence[str]:
        """Return QEMU's options for the firmware."""
        if self.variables is None:
            return ("-bios", str(self.code))
        return (
            "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={_escaped(self.code)}",
            "-drive", f"if=pflash,unit=1,format=raw,file={_escaped(self.variables)}",
        )  # fmt: skip


def _escaped(path: Path) -> str:
    return str(path).replace(",", ",,")  # QEMU reads a doubled comma as a literal one


def require_firmware(wanted: MachineFirmware | None, host: Path = distribution.ROOT) -> None:
    """Raise MissingTool ``emulator.no-firmware`` if this host has no firmware for the machine."""
    if wanted is None:
        return
    for name in (wanted.code, wanted.variables):
        if name is not None and not Path(name).is_file():
            raise MissingTool(
                "emulator.no-firmware",
                f"the emulated machine runs its own firmware, and this host has no {name}",
                hint=distribution.install_hint([wanted.package], host),
            )


def firmware_of(runner: Runner, wanted: MachineFirmware | None, drive: Drive) -> Firmware | None:
    """Return the firmware `wanted` for a machine with `drive`, with variables of earlier starts.

    The variables are in a file beside that of the drive.
    """
    if wanted is None:
        return None
    if wanted.variables is None:
        return Firmware(Path(wanted.code))
    variables = _variables_of(drive)
    if not variables.exists():
        # Only the user may read what the guest stores.
        variables.touch(mode=0o600)
        runner.run(["cp", "--sparse=always", wanted.variables, variables])
    return Firmware(Path(wanted.code), variables)


def try_is_next(drive: Drive) -> bool:
    """Return whether the system on `drive` told systemd-boot by a variable to start a try next."""
    variables = _variables_of(drive)
    return variables.exists() and one_shot_entry(variables) == TRIED


def _variables_of(drive: Drive) -> Path:
    return drive.path.with_name(f"{drive.path.name}.variables")
