"""The chips of a kernel, by the aliases of its modules."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from piimage.errors import InputError
from piimage.kernel.modules import ModuleTree, Supply
from piimage.kernel.package import KernelParts
from piimage.kernel.sensors import WantedChip, modules_of, sensor_chips
from piimage.run import Runner
from piimage.steps import Builder, Job
from piimage.store import Store
from piimage.trees import Entry, file

from .elf import module

RELEASE = "6.12.1"
MAGIC = "6.12.1 SMP aarch64"
FOLDER = f"usr/lib/modules/{RELEASE}"
MODULES = {
    "kernel/drivers/iio/pressure/bmp280": ("bmp280", (), ""),
    "kernel/drivers/iio/pressure/bmp280-i2c": (
        "bmp280_i2c", ("i2c:bme280", "i2c:bmp280", "of:N*T*Cbosch,bmp580C*"), "bmp280",
    ),
    "kernel/drivers/iio/pressure/bmp280-spi": (
        "bmp280_spi", ("spi:bme280", "of:N*T*Cbosch,bme680C*"), "bmp280",
    ),
    "kernel/drivers/iio/adc/mcp320x": ("mcp320x", ("spi:mcp3008",), ""),
    "kernel/drivers/hwmon/lm75": ("lm75", ("i2c:lm75", "of:N*T*Cti,tmp75", "i2c:" + "x" * 20), ""),
    "kernel/drivers/w1/slaves/w1_therm": ("w1_therm", ("w1-family-0x28",), ""),
    "kernel/drivers/rtc/rtc-ds1307": ("rtc_ds1307", ("i2c:ds1307",), ""),
}  # fmt: skip


def entries() -> list[tuple[str, bytes]]:
    return [
        (f"{path}.ko", module(name=name, vermagic=MAGIC, depends=depends, alias=aliases))
        for path, (name, aliases, depends) in MODULES.items()
    ]


def supply() -> Supply:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path, data in [*entries(), ("modules.builtin", b"")]:
            info = tarfile.TarInfo(f"{FOLDER}/{path}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    out.seek(0)
    return Supply(tarfile.open(fileobj=out), RELEASE)


@dataclass(frozen=True)
class SensorKernel(KernelParts):
    """The kernel of `supply`, as a step."""

    device_trees: tuple[str, ...] = ()

    def entries(self, job: Job) -> Iterator[Entry]:
        yield file("boot/vmlinuz-6.12.1", b"\0" * 0x38 + b"ARM\x64")
        yield file(f"{FOLDER}/modules.builtin", b"")
        yield from (file(f"{FOLDER}/{path}", data) for path, data in entries())


def test_chips_are_those_of_drivers_on_i2c_spi_and_1_wire() -> None:
    """None of a clock, none whose name the kernel could not take, and on SPI no compatible."""
    assert sensor_chips(supply()) == {
        "i2c:bme280": "bmp280_i2c",
        "i2c:bmp280": "bmp280_i2c",
        "i2c:bmp580": "bmp280_i2c",
        "i2c:lm75": "lm75",
        "i2c:tmp75": "lm75",
        "spi:bme280": "bmp280_spi",
        "spi:mcp3008": "mcp320x",
        "w1-family-0x28": "w1_therm",
    }


def test_each_module_is_taken_once() -> None:
    wanted = [WantedChip("a", "i2c:bme280"), WantedChip("b", "i2c:bmp280")]
    assert modules_of(wanted, sensor_chips(supply()), RELEASE) == (("bmp280_i2c",), ())


@pytest.mark.provokes("kernel.unknown-sensor")
def test_every_unknown_chip_is_named_with_similar_ones() -> None:
    wanted = [WantedChip("sensors.air", "i2c:bme28"), WantedChip("sensors.x", "i2c:frobnicator")]
    modules, (first, second) = modules_of(wanted, sensor_chips(supply()), RELEASE)
    assert modules == ()
    assert isinstance(first, InputError)
    assert str(first) == (
        "sensors.air: the kernel 6.12.1 has no driver for a bme28; "
        "did you mean bme280, bmp280? `piimage sensors` lists what it has"
    )
    assert str(second).endswith("frobnicator; `piimage sensors` lists what it has")


@pytest.mark.provokes("kernel.unknown-sensor")
@pytest.mark.parametrize(
    ("alias", "message"),
    [
        ("i2c:mcp3008", "no driver for a mcp3008 on I2C"),
        ("spi:lm75", "no driver for a lm75 on SPI"),
        ("spi:mcp3009", "no driver for a mcp3009; did you mean mcp3008?"),
    ],
)
def test_a_chip_of_the_other_bus_is_named_with_its_bus(alias: str, message: str) -> None:
    _, (error,) = modules_of([WantedChip("sensors.a", alias)], sensor_chips(supply()), RELEASE)
    assert message in str(error)


def test_the_system_loads_the_drivers_of_chips_after_what_they_need(store: Store) -> None:
    tree = ModuleTree(SensorKernel(), (), (), chips=(WantedChip("sensors.air", "i2c:bme280"),))
    job = Builder(store, Runner()).build(tree)
    lines = job.file(tree, "late-order").read_text().splitlines()
    assert [line.rpartition("/")[2] for line in lines] == ["bmp280.ko", "bmp280-i2c.ko"]


@pytest.mark.provokes("kernel.unknown-sensor")
def test_a_build_refuses_an_unknown_chip(store: Store) -> None:
    tree = ModuleTree(SensorKernel(), (), (), chips=(WantedChip("sensors.air", "i2c:ds1307"),))
    with pytest.raises(InputError, match="no driver for a ds1307"):
        Builder(store, Runner()).build(tree)
