"""What the fixtures give: buses in /dev with chips on them."""

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
    """A bus could not be made; the message says why."""


@dataclass(frozen=True)
class StubBus:
    """An i2c-stub: registers that remember."""

    number: int

    @property
    def path(self) -> str:
        """Its device node."""
        return f"/dev/i2c-{self.number}"

    def read(self, address: int, register: int) -> int:
        """One register, as a driver left it."""
        with SmbusDevice(self.path) as device:
            return device.read_byte_data(address, register)

    def write(self, address: int, register: int, value: int) -> None:
        """Change a register, as the chip would."""
        with SmbusDevice(self.path) as device:
            device.write_byte_data(address, register, value)


@dataclass
class I2cStub:
    """The fixture ``i2c_stub``: call it with chips by address; one bus a test."""

    modules: Loader
    _loaded: bool = False

    def __call__(self, chips: Mapping[int, Contents]) -> StubBus:
        """Load i2c-stub with these chips. Raises `BusError`, ModuleError, DumpError."""
        if self._loaded:
            raise BusError("i2c-stub has one bus: give all chips at once")
        dumps = {address: _dump(contents) for address, contents in chips.items()}
        self.modules.load("i2c-dev")
        if _stub_number() is not None:
            raise BusError("i2c-stub is loaded already, with chips of somebody else's")
        self.modules.load("i2c-stub", **stub_parameters(dumps))
        self._loaded = True
        number = _stub_number()
        if number is None:
            raise BusError("i2c-stub was loaded and made no bus")
        _wait_for(Path(f"/dev/i2c-{number}"))
        with SmbusDevice(f"/dev/i2c-{number}") as device:
            for address, dump in dumps.items():
                preload(device, address, dump)
        return StubBus(number)

    def close(self) -> None:
        """Take the bus away. Raises ModuleError when another process has it open."""
        number = _stub_number()
        if self._loaded and number is not None:
            _let_go(f"/dev/i2c-{number}")
            self.modules.remove("i2c-stub")


def _let_go(path: str) -> None:
    """Point descriptors that the test left open elsewhere: an open node keeps the module."""
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
            raise BusError(f"{', '.join(map(str, paths))} did not come within {_SECONDS:g} s")
        time.sleep(0.005)


class SimChip:
    """A model that serves a device node in another process: its attributes, and its faults."""

    def __init__(self, ask: Ask, place: str) -> None:
        self._ask = ask
        self._place = place

    def set(self, **values: object) -> None:
        """Set attributes of the model: ``chip.set(source=Air(21.0))``."""
        self._ask({"chip": self._place, "set": values})

    def get(self, path: str) -> Any:  # noqa: ANN401 -- whatever the model has
        """An attribute by its path: ``chip.get("source.temperature_celsius")``."""
        return self._ask({"chip": self._place, "get": path})

    def call(self, method: str) -> Any:  # noqa: ANN401 -- likewise
        """Call a method without arguments: ``chip.call("power_cycle")``."""
        return self._ask({"chip": self._place, "call": method})

    def faults(self, **rates: float) -> None:
        """Chances of faults by the names of `FaultRates`; those left out become 0."""
        self._ask({"chip": self._place, "faults": rates})

    def unplug(self) -> None:
        """Take the chip away."""
        self._ask({"chip": self._place, "unplugged": True})

    def plug(self) -> None:
        """Put the chip back."""
        self._ask({"chip": self._place, "unplugged": False})

    def counts(self) -> dict[str, int]:
        """How often each fault came."""
        counts: dict[str, int] = self._ask({"chip": self._place, "counts": True})
        return counts


class Ask:
    """Requests to the process that has the models."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __call__(self, request: dict[str, Any]) -> Any:  # noqa: ANN401 -- likewise
        """The answer's value. Raises `BusError`."""
        try:
            self._connection.send(request)
            answer = self._connection.recv() if self._connection.poll(_SECONDS) else None
        except (EOFError, OSError):
            answer = None
        if answer is None:
            raise BusError("the process with the models does not answer; is its output captured?")
        if "error" in answer:
            raise BusError(answer["error"])
        return answer["value"]


class _Requests:
    """The other end, in the loop of the device nodes."""

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
    """Device nodes served by a process of their own. Raises `BusError`.

    A thread would not do: C code such as spidev opens a node while it holds the interpreter's
    lock, and would wait for a thread that waits for the lock.
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
        """Its device node."""
        return f"/dev/i2c-{self.number}"

    def chip(self, address: int) -> SimChip:
        """The model at `address`."""
        return SimChip(self.ask, f"i2c-{self.number}:0x{address:02x}")

    def log(self) -> list[I2cTransfer]:
        """The transfers since it was last asked for."""
        transfers: list[I2cTransfer] = self.ask({"log": f"i2c-{self.number}"})
        return transfers


@dataclass(frozen=True)
class SpiSimBus:
    """An SPI controller with models at its chip selects."""

    number: int
    ask: Ask

    def path(self, chip_select: int = 0) -> str:
        """The device node of a chip select."""
        return f"/dev/spidev{self.number}.{chip_select}"

    def chip(self, chip_select: int = 0) -> SimChip:
        """The model at a chip select."""
        return SimChip(self.ask, f"spidev{self.number}.{chip_select}")

    def log(self) -> list[SpiTransfer]:
        """The transfers since it was last asked for."""
        transfers: list[SpiTransfer] = self.ask({"log": f"spi{self.number}"})
        return transfers


def _breakable(chip: I2cTarget | SpiTarget) -> FaultyChip:
    if isinstance(chip, FaultyChip):
        return chip
    return FaultyChip(chip, FaultRates(), Random(1))  # noqa: S311 -- faults, not secrets


@contextmanager
def i2c_bus(chips: Mapping[int, I2cTarget]) -> Iterator[I2cSimBus]:
    """A bus served through CUSE, which refuses what a Pi's refuses. Raises `BusError`."""
    number = _free("i2c-{}")
    wrapped = {address: _breakable(chip) for address, chip in chips.items()}
    adapter = I2cAdapter(wrapped, deque(maxlen=_LOG), wait=time.sleep)
    places = {f"i2c-{number}:0x{address:02x}": chip for address, chip in wrapped.items()}
    control = Control(places, {f"i2c-{number}": adapter.log})
    with served([I2cNode(adapter, number)], control) as ask:
        yield I2cSimBus(number, ask)


@contextmanager
def spi_bus(chips: Mapping[int, SpiTarget]) -> Iterator[SpiSimBus]:
    """A controller served through CUSE, one node a chip select. Raises `BusError`."""
    number = _free("spidev{}.0")
    wrapped = {select: _breakable(chip) for select, chip in chips.items()}
    controller = SpiController(wrapped, deque(maxlen=_LOG))
    places = {f"spidev{number}.{select}": chip for select, chip in wrapped.items()}
    control = Control(places, {f"spi{number}": controller.log})
    nodes: list[Node] = [SpiNode(controller, number, select) for select in wrapped]
    with served(nodes, control) as ask:
        yield SpiSimBus(number, ask)


def _free(form: str) -> int:
    number = _FIRST
    while Path("/dev", form.format(number)).exists():
        number += 1
    return number
