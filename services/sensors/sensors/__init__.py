"""All that the kernel measures as a service: the file's sensors by name, and the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sensorkit.clock import Clock
from sensorkit.corrections import Offset
from sensorkit.drivers.driver import Driver
from sensorkit.gpio.client import SOCKET, LinesClient
from sensorkit.gpio.sensor import LineSensor, NamedLine
from sensorkit.kernel.buffered import FOLDER, Fifo
from sensorkit.kernel.devices import BufferedSensor, KernelSensor, OtherSensors, W1Place
from sensorkit.kernel.file import Listed, NamedSensor, read_list
from sensorkit.options import Option, Values, seconds, yes_no
from sensorkit.service import OutputOptions, Service
from sensorkit.smoothing import Smoothing
from sensorkit.station import Identity, Plan
from sensorkit.supervise import Correction, RetryPolicy, Supervised

VERSION = "0.1.0"
PORT = 9284
_PREFIX = "SENSORS_"
_FILE = Path("/etc/piimage/sensors.json")
# The kernel's drivers have waited and retried by themselves; a chip that fails is not to hold up
# the others of its bus.
_POLICY = RetryPolicy(attempts=2)


class SensorOptions:
    """Options of the sensors; those of the YAML file's `sensors:` are in the list of `file`."""

    def __init__(self) -> None:
        self.file: Option[Listed | None] = Option(
            *("file", f"{_PREFIX}FILE", _listed, None),
            help=f"list of the named sensors, as piimage makes it (default: {_FILE})",
        )
        self.others = Option(
            *("others.publish", f"{_PREFIX}OTHERS", yes_no, True),
            help="publish what the kernel measures beside the named sensors",
        )
        self.interval = Option(
            *("others.interval", f"{_PREFIX}INTERVAL", seconds(0.1, 86_400), 30.0),
            help="time between samples of sensors without a name",
            also=("every", "period"),
        )

    def all(self) -> tuple[Option[object], ...]:
        """Return all options of the group."""
        return tuple(vars(self).values())

    def listed(self, values: Values) -> Listed:
        """Return what the file names. Raises ValueError if piimage's list is damaged."""
        found = values[self.file]
        return read_list(_FILE) if found is None else found


def service(sys: Path, lines: Path = SOCKET, buffers: Path = FOLDER) -> Service:
    """Return the service on the kernel's files below `sys`, and the socket of GPIO `lines`.

    `buffers` has the FIFO of each sensor that the kernel samples by itself.
    """
    options = SensorOptions()

    def plans(values: Values, clock: Clock) -> Sequence[Plan]:
        return tuple(_plans(options, values, clock, Places(sys, lines, buffers)))

    return Service(
        Identity("sensors", "Sensors", VERSION),
        _PREFIX,
        OutputOptions(_PREFIX, PORT),
        options.all(),
        lambda _: [],
        plans,
        # A sensor that is unplugged is not to restart the service, and so to end the plots of the
        # others.
        enough=any,
    )


@dataclass(frozen=True)
class Places:
    """Where a Pi has what is measured."""

    sys: Path
    lines: Path
    buffers: Path


def _plans(options: SensorOptions, values: Values, clock: Clock, places: Places) -> Iterator[Plan]:
    listed = options.listed(values)
    named = listed.sensors
    for sensor in named:
        bus = "w1" if isinstance(sensor.place, W1Place) else sensor.place.bus
        yield _plan(
            Supervised(
                sensor.name,
                _driver(sensor, clock, places),
                clock,
                max_age=_max_age(sensor.every),
                policy=_POLICY,
                corrections=tuple(_corrections(sensor)),
            ),
            sensor.every,
            bus,
        )
    yield from _line_plans(listed.lines, LinesClient(places.lines), clock)
    others = OtherSensors({sensor.name: sensor.place for sensor in named}, clock, places.sys)
    if values[options.others] and (others.present() or not (named or listed.lines)):
        every = values[options.interval]
        chip = Supervised("others", others, clock, max_age=_max_age(every), policy=_POLICY)
        yield _plan(chip, every, "others")


def _driver(sensor: NamedSensor, clock: Clock, places: Places) -> Driver:
    place = sensor.place
    if sensor.is_buffered and not isinstance(place, W1Place):
        return BufferedSensor(
            sensor.name, place, clock, Fifo(places.buffers / sensor.name), places.sys
        )
    return KernelSensor(sensor.name, place, clock, places.sys)


def _corrections(sensor: NamedSensor) -> Iterator[Correction]:
    if sensor.smoothing is not None:
        method, count = sensor.smoothing
        yield Smoothing(method, count, max_age=count * _max_age(sensor.every))
    for name, amount in sensor.offsets.items():
        yield Offset(name, amount)


def _line_plans(lines: Sequence[NamedLine], client: LinesClient, clock: Clock) -> Iterator[Plan]:
    for line in lines:
        driver = LineSensor(line, client, clock)
        chip = Supervised(line.name, driver, clock, max_age=_max_age(line.every), policy=_POLICY)
        yield Plan(
            chip,
            line.every,
            driver.channels,
            group="gpio",
            changed=driver.changed,
            alarm=client.changed,
            switch=driver.set if line.kind == "output" else None,
        )


def _plan(chip: Supervised, every: float, bus: str) -> Plan:
    return Plan(chip, every, (), group=bus)


def _max_age(interval: float) -> float:
    """Return how long a value holds, in seconds: three samples, and the time to read a bus."""
    return 3 * interval + 10


def _listed(text: str) -> Listed:
    return read_list(Path(text))
