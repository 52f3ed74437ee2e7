"""The boot tasks between process 1 and the first container."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.appliance.scripts import Pi

LIST = "/lib/usbcore.ko\n/lib/phy-generic.ko\n/lib/xhci-pci.ko quirks=0x10\n/lib/i2c_dev.ko\n\n"


@pytest.mark.parametrize(
    ("there", "loaded"),
    [
        ([], ["/lib/usbcore.ko", "/lib/phy-generic.ko", "/lib/xhci-pci.ko quirks=0x10"]),
        (["usbcore", "xhci_pci"], ["/lib/phy-generic.ko"]),
        (["usbcore", "phy_generic", "xhci_pci"], []),
    ],
)
def test_modules_that_the_initramfs_loaded_are_passed_over_in_silence(
    tmp_path: Path, there: list[str], loaded: list[str]
) -> None:
    pi = Pi(tmp_path)
    pi.install_library()
    functions, _, _ = pi.install("boot").read_text().partition("\nphase process-1")
    functions = functions.replace("/sys/module", f"{pi.root}/sys/module")
    script = pi.write("functions", functions)
    pi.write("etc/piimage/modules-late", LIST)
    for name in there:
        pi.path(f"sys/module/{name}/initstate")
    said = pi.sh(f'. {script}; insmod() {{ echo "$*"; }}; load_late_modules')
    assert said.splitlines() == [*loaded, "/lib/i2c_dev.ko"]
    assert pi.console() == []
