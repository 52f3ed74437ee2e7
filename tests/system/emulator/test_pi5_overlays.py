"""The Pi 5's SPI and fan, without a Pi 5: its kernel and its overlays, on QEMU's virt machine.

Only the wires differ: GPIO lines of RP1 are lines of virt's PL061, and the temperature sensor's
registers are memory, into which the test writes what the sensor would say.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from piimage import resources
from piimage.boards import load_board
from piimage.emulator import qemu
from piimage.firmware import devicetree
from piimage.run import Runner
from piimage.store import Store
from tests.system.emulator.cards import make_parts

MODULES = ("spi-gpio", "bcm2711_thermal", "gpio-fan")
# RP1's lines (clock, data out, data in, selects, fan), and those of the PL061 in their stead.
LINES = {11: 0, 10: 1, 9: 2, 8: 4, 7: 5, 45: 6}
SENSOR = 0x50000000
WIRES = f"""/dts-v1/;
/plugin/;
&{{/}} {{
	__symbols__ {{
		rp1_gpio = "/pl061@9030000";
	}};
	aliases {{}};
	soc: sensor {{
		compatible = "simple-bus";
		#address-cells = <2>;
		#size-cells = <2>;
		ranges;
	}};
	reserved-memory {{
		#address-cells = <2>;
		#size-cells = <2>;
		ranges;
		memory@{SENSOR:x} {{
			reg = <0 {SENSOR:#x} 0 0x1000>;
			no-map;
		}};
	}};
}};
"""
# The sensor's status (bcm2711_thermal.c): bits 16 and 10 say that it is valid, 0 to 9 are the code.
INIT = f"""#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
mount -t debugfs debug /sys/kernel/debug
said() {{ devmem {SENSOR + 0x200:#x} 32 $((0x10400 + $1)); }}
said 750
while read -r module; do insmod $module || echo "FAILED $module"; done < /etc/piimage/modules
cd /sys/class/thermal
until [ -e thermal_zone0 ] && [ -e cooling_device0 ] && [ -e /dev/spidev0.1 ]; do sleep 0.2; done
for path in /sys/bus/spi/devices/*; do
	echo "SPI ${{path##*/}} $(readlink $path/driver | sed 's,.*/,,')"
done
printf abc >/dev/spidev0.0 && printf abc >/dev/spidev0.1 && echo WRITTEN
fan() {{
	until [ "$(cat cooling_device0/cur_state)" = "$1" ]; do sleep 0.2; done
	echo "FAN $1 at $(cat thermal_zone0/temp): $(grep -o 'fan.*' /sys/kernel/debug/gpio)"
}}
fan 0; said 705; fan 1; said 720; sleep 5; fan 1; said 730; fan 0
poweroff -f
""".encode()


def on_virt(source: Path) -> str:
    """Return the overlay with its lines and its sensor where virt has them."""
    text = re.sub(
        r"&rp1_gpio (\d+)", lambda line: f"&rp1_gpio {LINES[int(line[1])]}", source.read_text()
    )
    return text.replace("<0x7d542000 0xf00>", f"<0 {SENSOR:#x} 0 0xf00>")


@pytest.fixture(scope="module")
def console(piimage_store: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the kernel and its overlays said, once booted."""
    folder, runner = tmp_path_factory.mktemp("pi5"), Runner()
    board = load_board("pi5")
    modules = board.modules.model_copy(update={"boot": MODULES})
    parts = make_parts(
        Store(piimage_store), runner, board.model_copy(update={"modules": modules}), init=INIT
    )
    tree, overlays = folder / "virt.dtb", resources.path("boards") / "overlays/bcm2712"
    machine = [qemu.PROGRAM, "-nodefaults", "-display", "none", "-cpu", "cortex-a72", "-m", "512"]
    runner.run([*machine, "-machine", f"virt,dumpdtb={tree}"])
    (folder / "wires.dtso").write_text(WIRES)
    for name in ("spi0", "fan"):
        (folder / f"{name}.dtso").write_text(on_virt(overlays / f"{name}.dtso"))
    found = tree.read_bytes()
    for name in ("wires", "spi0", "fan"):
        compiled = devicetree.compile_overlay(runner, folder / f"{name}.dtso")
        found = devicetree.apply_overlays(runner, found, [(name, compiled)], origin=name)
    tree.write_bytes(found)
    done = subprocess.run(
        [*machine, "-machine", "virt", "-append", "console=ttyAMA0 quiet panic=1", "-no-reboot",
         "-kernel", parts.kernel, "-initrd", parts.initramfs, "-dtb", tree, "-serial", "stdio"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=400, check=True,
    )  # fmt: skip
    return done.stdout


def test_spi_by_software_has_the_names_of_the_real_one(console: str) -> None:
    assert "FAILED" not in console
    assert re.findall(r"SPI (\S+) (\S+)", console) == [("spi0.0", "spidev"), ("spi0.1", "spidev")]
    assert "WRITTEN" in console


def test_the_fan_turns_from_60_degrees_and_stops_below_50(console: str) -> None:
    states = re.findall(r"FAN (\d) at (\d+): fan +\|? *\)? *out (hi|lo) ACTIVE LOW", console)
    assert states == [
        ("0", "37500", "hi"), ("1", "62250", "lo"), ("1", "54000", "lo"), ("0", "48500", "hi"),
    ]  # fmt: skip
