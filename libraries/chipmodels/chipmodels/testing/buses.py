"""The buses of the fixtures: device nodes in /dev with chips."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

from chipmodels.adapter import I2cAdapter, I2cTransfer, SpiController, SpiTransfer
from chipmodels.control import Control
from chipmodels.cuse import Answering, CuseDevice, Node, serve
from chipmodels.cuse_i2c import I2cNode
from chipmodels.cuse_spi import SpiNode
from chipmodels.dump import Dump, read_dump
from chipmodels.faults import FaultRates, FaultyChip
from chipmodels.smbus_device import SmbusDevice
from chipmodels.stub import preload, stub_parameters
from chipmodels.target import I2cTarget, SpiTarget
from chipmodels.testing.modules import Loader

_DEVICES = Path("/sys/bus/i2c/devices")
_FIRST = 7  # bus numbers that no Raspberry Pi uses
_SECONDS = 10.0
_LOG = 100_000

Contents = Dump | Mapping[int, int] | Path
"""A chip of i2c-stub: a dump, registers by number, or a file of ``i2cdump``."""


class BusError(Exception):
    """A bus could not be created; the message says why."""


@dataclass(frozen=True)
class StubBus:
    """A bus of i2c-stub, which stores registers."""

    number: int

    @property
    def path(self) -> str:
        """The device node."""
        return f"/dev/i2c-{self.number}"

    def read(self, address: int, register: int) -> int:
        """Return the value of a register as a driver wrote it."""
        with SmbusDevice(self.path) as device:
            return device.read_byte_data(address, register)

    def write(self, address: int, register: int, value: int) -> None:
        """Change a register as the chip would."""
        with SmbusDevice(self.path) as device:
            device.write_byte_data(address, register, value)


@dataclass
class I2cStub:
    """The fixture ``i2c_stub``: call it with chips by address, once in each test."""

    modules: Loader
    _loaded: bool = False

    def __call__(self, chips: Mapping[int, Contents]) -> StubBus:
        """Load i2c-stub with these chips. Raises `BusError`, ModuleError, DumpError."""
        if self._loaded:
            raise BusError("i2c-stub has one bus: give all chips at once")
        dumps = {address: _dump(contents) for address, contents in chips.items()}
        self.modules.load("i2c-dev")
        if _stub_number() is not None:
            raise BusError("i2c-stub is already loaded, with other chips")
        self.modules.load("i2c-stub", **stub_parameters(dumps))
        self._loaded = True
        number = _stub_number()
        if number is None:
            raise BusError("i2c-stub was loaded but created no bus")
        _wait_for(Path(f"/dev/i2c-{number}"))
        with SmbusDevice(f"/dev/i2c-{number}") as device:
            for address, dump in dumps.items():
                preload(device, address, dump)
        return StubBus(number)

    def close(self) -> None:
        """Remove the bus. Raises ModuleError if another process has it open."""
        number = _stub_number()
        if self._loaded and number is not None:
            _redirect_to_null(f"/dev/i2c-{number}")
            self.modules.remove("i2c-stub")


def _redirect_to_null(path: str) -> None:
    """Redirect descriptors that the test left open, because an open node keeps the module."""
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if str(entry.readlink()) == path:
                null = os.open(os.devnull, os.O_RDWR)
                os.dup2(null, int(entry.name))
                os.close(null)


def _dump(contents: Contents) -> Dump:
    if isinstance(contents, Path):
        return read_dump(contents)
    return contents if isinstance(contents, Dump) else Dump(contents, False)


def _stub_number() -> int | None:
    for device in _DEVICES.glob("i2c-*"):
        if (device / "name").read_text().startswith("SMBus stub"):
            return int(device.name.removeprefix("i2c-"))
    return None


def _wait_for(*paths: Path) -> None:
    end = time.monotonic() + _SECONDS
    while not all(path.exists() for path in paths):
        if time.monotonic() > end:
            raise BusError(f"{', '.join(map(str, paths))} did not appear within {_SECONDS:g} s")
        time.sleep(0.005)


class SimChip:
    """A model that serves a device node in another process, with its attributes and faults."""

    def __init__(self, ask: Ask, place: str) -> None:
        self._ask = ask
        self._place = place

    def set(self, **values: object) -> None:
        """Set attributes of the model: ``chip.set(source=Air(21.0))``."""
        self._ask({"chip": self._place, "set": values})

    def get(self, path: str) -> Any:  # noqa: ANN401 -- the type is the model's
        """Return an attribute by its path: ``chip.get("source.temperature_celsius")``."""
        return self._ask({"chip": self._place, "get": path})

    def call(self, method: str) -> Any:  # noqa: ANN401 -- likewise
        """Call a method without arguments: ``chip.call("power_cycle")``."""
        return self._ask({"chip": self._place, "call": method})

    def faults(self, **rates: float) -> None:
        """Set probabilities by the names of `FaultRates`; the others become 0."""
        self._ask({"chip": self._place, "faults": rates})

    def unplug(self) -> None:
        """Disconnect the chip."""
        self._ask({"chip": self._place, "unplugged": True})

    def plug(self) -> None:
        """Connect the chip again."""
        self._ask({"chip": self._place, "unplugged": False})

    def counts(self) -> dict[str, int]:
        """Return the number of each fault."""
        counts: dict[str, int] = self._ask({"chip": self._place, "counts": True})
        return counts


class Ask:
    """Sends requests to the process that has the models."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __call__(self, request: dict[str, Any]) -> Any:  # noqa: ANN401 -- likewise
        """Return the value of the response. Raises `BusError`."""
        try:
            self._connection.send(request)
            response = self._connection.recv() if self._connection.poll(_SECONDS) else None
        except (EOFError, OSError):
            response = None
        if response is None:
            raise BusError("the process with the models does not answer; is its output captured?")
        if "error" in response:
            raise BusError(response["error"])
        return response["value"]


class _Requests:
    """The other end of `Ask`, in the loop of the device nodes."""

    def __init__(self, connection: Connection, control: Control) -> None:
        self._connection = connection
        self._control = control

    def fileno(self) -> int:
        return self._connection.fileno()

    def answer(self) -> None:
        try:
            request = self._connection.recv()
        except EOFError:
            os._exit(0)  # the test is over
        self._connection.send(self._control.answer(request))


def _serve(connection: Connection, nodes: list[Node], control: Control) -> None:
    try:
        devices: list[Answering] = [CuseDevice(node) for node in nodes]
    except OSError as error:
        connection.send(f"/dev/cuse: {error.strerror}")
        return
    connection.send("")
    serve([*devices, _Requests(connection, control)])


@contextmanager
def served(nodes: list[Node], control: Control) -> Iterator[Ask]:
    """Serve device nodes in a process of their own. Raises `BusError`.

    A thread would deadlock: C code such as spidev opens a node while it holds the interpreter's
    lock, and the thread would wait for that lock.
    """
    mine, theirs = multiprocessing.Pipe()
    fork = multiprocessing.get_context("fork")
    process = fork.Process(target=_serve, args=(theirs, nodes, control), daemon=True)
    process.start()
    theirs.close()
    try:
        problem = mine.recv() if mine.poll(_SECONDS) else "the process with the models hangs"
        if problem:
            raise BusError(problem)
        _wait_for(*(Path("/dev", node.name) for node in nodes))
        yield Ask(mine)
    finally:
        mine.close()
        process.terminate()
        process.join()


@dataclass(frozen=True)
class I2cSimBus:
    """An I2C bus with models on it."""

    number: int
    ask: Ask

    @property
    def path(self) -> str:
        """The device node."""
        return f"/dev/i2c-{self.number}"

    def chip(self, address: int) -> SimChip:
        """Return the model at `address`."""
        return SimChip(self.ask, f"i2c-{self.number}:0x{address:02x}")

    def log(self) -> list[I2cTransfer]:
        """Return the transfers since the last call."""
        transfers: list[I2cTransfer] = self.ask({"log": f"i2c-{self.number}"})
        return transfers


@dataclass(frozen=True)
class SpiSimBus:
    """An SPI controller with models at its chip selects."""

    number: int
    ask: Ask

    def path(self, chip_select: int = 0) -> str:
        """Return the device node of a chip select."""
        return f"/dev/spidev{self.number}.{chip_select}"

    def chip(self, chip_select: int = 0) -> SimChip:
        """Return the model at a chip select."""
        return SimChip(self.ask, f"spidev{self.number}.{chip_select}")

    def log(self) -> list[SpiTransfer]:
        """Return the transfers since the last call."""
        transfers: list[SpiTransfer] = self.ask({"log": f"spi{self.number}"})
        return transfers


def _faulty(chip: I2cTarget | SpiTarget) -> FaultyChip:
    if isinstance(chip, FaultyChip):
        return chip
    return FaultyChip(chip, FaultRates(), Random(1))  # noqa: S311 -- faults, not secrets


@contextmanager
def i2c_bus(chips: Mapping[int, I2cTarget]) -> Iterator[I2cSimBus]:
    """Serve a bus through CUSE, which refuses what a Pi's refuses. Raises `BusError`."""
    number = _free_number("i2c-{}")
    wrapped = {address: _faulty(chip) for address, chip in chips.items()}
    adapter = I2cAdapter(wrapped, deque(maxlen=_LOG), wait=time.sleep)
    places = {f"i2c-{number}:0x{address:02x}": chip for address, chip in wrapped.items()}
    control = Control(places, {f"i2c-{number}": adapter.log})
    with served([I2cNode(adapter, number)], control) as ask:
        yield I2cSimBus(number, ask)


@contextmanager
def spi_bus(chips: Mapping[int, SpiTarget]) -> Iterator[SpiSimBus]:
    """Serve a controller through CUSE, with a node for each chip select. Raises `BusError`."""
    number = _free_number("spidev{}.0")
    wrapped = {select: _faulty(chip) for select, chip in chips.items()}
    controller = SpiController(wrapped, deque(maxlen=_LOG))
    places = {f"spidev{number}.{select}": chip for select, chip in wrapped.items()}
    control = Control(places, {f"spi{number}": controller.log})
    nodes: list[Node] = [SpiNode(controller, number, select) for select in wrapped]
    with served(nodes, control) as ask:
        yield SpiSimBus(number, ask)


def _free_number(form: str) -> int:
    number = _FIRST
    while Path("/dev", form.format(number)).exists():
        number += 1
    return number
