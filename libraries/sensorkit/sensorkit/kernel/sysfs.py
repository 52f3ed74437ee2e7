"""Values of the kernel's devices, as files below /sys; nothing is written.

A device's folder is read once for its `Source`s. Each of them is then read for every sample.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sensorkit.errors import BusError, InvalidReading
from sensorkit.kernel.quantities import HWMON, IIO, SCALED_PROXIMITY, KernelUnit
from sensorkit.measurement import Channel

Labels = tuple[tuple[str, str], ...]

_IIO_VALUE = re.compile(
    r"in_(?P<type>[a-z]+)(?P<index>\d*)(?P<other>-[a-z]+)?(?P<second>\d*)"
    r"(?:_(?P<modifier>.+?))?_(?P<kind>raw|input)"
)
_STATISTICS = ("mean", "peak")
_HWMON_VALUE = re.compile(r"(?P<type>[a-z]+)(?P<index>\d+)_(?P<kind>input|average)")
_HWMON_KINDS = {"power": ("input", "average")}
# The chip, its bus or its driver is gone: no other value of this chip can be read either.
_GONE = frozenset(
    {
        errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.EREMOTEIO, errno.ETIMEDOUT, errno.EIO,
        errno.ESHUTDOWN,
    }
)  # fmt: skip
_WORDS = {
    errno.EREMOTEIO: "no chip answers; check wiring and power",
    errno.ENXIO: "no chip answers; check wiring and power",
    errno.ETIMEDOUT: "no answer in time; check wiring and power",
    errno.ENODEV: "the device is gone",
    errno.ENOENT: "the device is gone",
    errno.EIO: "the chip sent wrong data",
}


@dataclass(frozen=True)
class Source:
    """A channel of a device, and how its value is read.

    `read` raises `BusError` if the device cannot be read at all, and `InvalidReading` if it has no
    such value now.
    """

    channel: Channel
    read: Callable[[], float]


def device_sources(device: Path, name: str, labels: Labels) -> tuple[Source, ...]:
    """Return what the drivers of the device in the folder `device` measure, in order of names.

    `name` is for people, `labels` are those of each channel. Empty if no driver is bound, or if
    what it measures has no meaning without its data sheet.
    """
    iio = (
        source for path in _matching(device, "iio:device*") for source in _iio(path, name, labels)
    )
    hwmon = (s for path in _matching(device, "hwmon/hwmon*") for s in _hwmon(path, name, labels))
    return _distinct((*iio, *hwmon))


def iio_sources(folder: Path, name: str, labels: Labels) -> tuple[Source, ...]:
    """Return the inputs of the IIO device in `folder`."""
    return _distinct(_iio(folder, name, labels))


def hwmon_sources(folder: Path, name: str, labels: Labels) -> tuple[Source, ...]:
    """Return the inputs of the hwmon device in `folder`."""
    return _distinct(_hwmon(folder, name, labels))


def zone_source(folder: Path, name: str, labels: Labels) -> Source:
    """Return the temperature of the thermal zone in `folder`."""
    unit = HWMON["temp"]
    channel = Channel(unit.quantity, f"{name}: Temperature", labels)
    return Source(channel, lambda: number(folder / "temp") * unit.factor)


def number(path: Path) -> float:
    """Return the number that the file `path` consists of.

    Raises `BusError` if the device is gone, `InvalidReading` if there is no number now.
    """
    try:
        text = path.read_text().strip()
    except OSError as error:
        code = error.errno or 0
        reason = _WORDS.get(code, error.strerror or "failed")
        message = f"{path.name}: {reason} ({errno.errorcode.get(code, code)})"
        raise (BusError if code in _GONE else InvalidReading)(message) from error
    try:
        return float(text)
    except ValueError:
        raise InvalidReading(f"{path.name}: {text[:40]!r} is not a number") from None


def line(path: Path) -> str:
    """Return the first line of a file; empty if it cannot be read."""
    try:
        return path.read_text(errors="replace").partition("\n")[0].strip()
    except OSError:
        return ""


def names(folder: Path) -> list[str]:
    """Return the names in `folder` in order; none if it cannot be read."""
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError:
        return []


def _matching(device: Path, pattern: str) -> list[Path]:
    try:
        return sorted(device.glob(pattern))
    except OSError:
        return []


def _distinct(sources: Iterable[Source]) -> tuple[Source, ...]:
    """Return the sources; where a driver gives several the same label, they get numbers."""
    found: dict[Channel, Source] = {}
    for source in sources:
        channel, count = source.channel, 1
        while channel in found:
            count += 1
            channel = _numbered(source.channel, count)
        found[channel] = replace(source, channel=channel)
    return tuple(found.values())


def _numbered(channel: Channel, count: int) -> Channel:
    labels = dict(channel.labels)
    labels["channel"] = f"{labels['channel']}_{count}" if "channel" in labels else str(count)
    return replace(channel, title=f"{channel.title} {count}", labels=tuple(labels.items()))


def _channel(unit: KernelUnit, name: str, labels: Labels, part: str) -> Channel:
    words = unit.quantity.name.replace("_", " ").capitalize()
    title = f"{name}: {words}{f' {part}' if part else ''}"
    return Channel(unit.quantity, title, (*labels, ("channel", part)) if part else labels)


# -- IIO ---------------------------------------------------------------------------------------


def _iio(folder: Path, name: str, labels: Labels) -> Iterator[Source]:
    files = set(names(folder))
    for match in filter(None, map(_IIO_VALUE.fullmatch, sorted(files))):
        modifier = match["modifier"] or ""
        if modifier.endswith(_STATISTICS) or match["type"] not in IIO:
            continue
        processed = match["kind"] == "input"
        if not processed and match[0].removesuffix("raw") + "input" in files:
            continue  # the driver converts by itself
        scale, offset = (_shared(match, what, files) for what in ("scale", "offset"))
        unit = IIO[match["type"]]
        if match["type"] == "proximity" and (processed or scale):
            unit = SCALED_PROXIMITY
        if unit.scaled and not processed and scale is None:
            continue  # the ABI gives such a value no unit
        channel = _channel(unit, name, labels, _iio_part(folder, match))
        if processed:
            yield Source(channel, Value(folder / match[0], unit.factor))
        else:
            paths = [None if file is None else folder / file for file in (scale, offset)]
            yield Source(channel, Value(folder / match[0], unit.factor, *paths))


def _iio_part(folder: Path, match: re.Match[str]) -> str:
    """Return what tells a channel from others of its type: its label, or index and modifier."""
    own = line(folder / f"{match[0].removesuffix('_' + match['kind'])}_label")
    second = match["other"] and f"{match['index']}-{match['second']}"
    words = (second or match["index"], match["modifier"])
    return _word(own) or _word("_".join(filter(None, words)))


def _shared(match: re.Match[str], what: str, files: Iterable[str]) -> str | None:
    """Return the file with the scale or offset of a channel, which several channels may share."""
    other, modifier = match["other"] or "", match["modifier"]
    own = f"in_{match['type']}{match['index']}{other}{match['second']}"
    kind = f"in_{match['type']}{other}"
    ends = [f"_{modifier}_{what}", f"_{what}"] if modifier else [f"_{what}"]
    wanted = [*(base + end for base in (own, kind) for end in ends), f"in_{what}"]
    return next((file for file in wanted if file in files), None)


@dataclass(frozen=True)
class Value:
    """``(raw + offset) * scale``; the kernel may change scale and offset at any time."""

    path: Path
    factor: float
    scale: Path | None = None
    offset: Path | None = None

    def __call__(self) -> float:
        """Return the value now. Raises `BusError` and `InvalidReading`."""
        return self.of(number(self.path))

    def of(self, raw: float) -> float:
        """Return what a raw value stands for now. Raises `BusError` and `InvalidReading`."""
        value = raw
        if self.offset is not None:
            value += number(self.offset)
        if self.scale is not None:
            value *= number(self.scale)
        return value * self.factor


# -- hwmon -------------------------------------------------------------------------------------


def _hwmon(folder: Path, name: str, labels: Labels) -> Iterator[Source]:
    files = names(folder)
    found = [match for match in map(_HWMON_VALUE.fullmatch, files) if match and _taken(match)]
    found.sort(key=lambda match: (match["type"], int(match["index"])))
    several = {match["type"] for match in found if match["index"] != _first(match["type"])}
    seen: set[tuple[str, str]] = set()
    for match in found:
        key = (match["type"], match["index"])
        if key in seen:  # an average beside the value of now
            continue
        seen.add(key)
        base = f"{match['type']}{match['index']}"
        own = _word(line(folder / f"{base}_label"))
        part = own or (match["index"] if match["type"] in several else "")
        unit = HWMON[match["type"]]
        file = f"{base}_input" if f"{base}_input" in files else match[0]
        fault = folder / f"{base}_fault" if f"{base}_fault" in files else None
        yield Source(_channel(unit, name, labels, part), _Hwmon(folder / file, unit.factor, fault))


def _taken(match: re.Match[str]) -> bool:
    return match["type"] in HWMON and match["kind"] in _HWMON_KINDS.get(match["type"], ("input",))


def _first(kind: str) -> str:
    """Return the index of a lone channel: voltages are counted from 0."""
    return "0" if kind == "in" else "1"


@dataclass(frozen=True)
class _Hwmon:
    path: Path
    factor: float
    fault: Path | None

    def __call__(self) -> float:
        if self.fault is not None and number(self.fault):
            raise InvalidReading(f"{self.path.name}: the chip reports a fault of this input")
        return number(self.path) * self.factor


def _word(text: str) -> str:
    """Return `text` as a label: lower case, and _ for everything but letters, digits and -."""
    return re.sub(r"[^a-z0-9-]+", "_", text.lower()).strip("_")
