"""Options of a service: one YAML file, then the environment; all errors at once.

An option has a key in the file (``mqtt.host``) and a variable (``MQTT_HOST``); the variable wins.
Values are parsed from text in both, so that they mean the same in both.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from sensorkit.errors import ConfigErrors

T = TypeVar("T")


@dataclass(frozen=True)
class Option(Generic[T]):
    """One option. `parse` raises ValueError with what would be right.

    `also` are other words for the last one of its key, by which people look for it: they are
    answered with the option, and not taken for it.
    """

    key: str
    variable: str
    parse: Callable[[str], T]
    default: T
    help: str
    also: tuple[str, ...] = ()

    @property
    def names(self) -> str:
        """Key and variable, for a message."""
        return f"{self.key} ({self.variable})"

    def other_keys(self) -> tuple[str, ...]:
        """Keys that somebody might write for this one."""
        first, dot, _ = self.key.rpartition(".")
        return tuple(f"{first}{dot}{word}" for word in self.also)

    def other_variables(self) -> tuple[str, ...]:
        """Variables that somebody might set for this one."""
        last = self.key.rpartition(".")[2].upper()
        return tuple(self.variable.removesuffix(last) + word.upper() for word in self.also)


@dataclass(frozen=True)
class Text:
    """A value as it was written, and where."""

    value: str
    place: str


class Values:
    """The options' values. Index with the option itself: the type follows."""

    def __init__(self, values: Mapping[str, object], texts: Mapping[str, Text]) -> None:
        self._values = values
        self._texts = texts

    def __getitem__(self, option: Option[T]) -> T:
        return cast(T, self._values[option.key])

    def place(self, option: Option[Any]) -> str:
        """Where the option was set, for a message; its variable when it was not."""
        text = self._texts.get(option.key)
        return text.place if text else option.variable


def load(
    options: Sequence[Option[Any]],
    environment: Mapping[str, str],
    *,
    prefix: str,
    file: tuple[str, str] | None = None,
    problems: Callable[[Values], list[str]] | None = None,
) -> Values:
    """Read the options from `file` (name and YAML text) and the environment.

    `prefix` is the service's own (``BMP280_``): an unknown variable that begins so is an error,
    as is an unknown key. `problems` tells what is wrong with options taken together. Raises
    `ConfigErrors` with everything that is wrong.
    """
    errors: list[str] = []
    texts = _file_texts(options, *file, errors) if file else {}
    texts |= _environment_texts(options, environment, prefix, errors)
    values: dict[str, object] = {}
    for option in options:
        text = texts.get(option.key)
        values[option.key] = option.default
        if text is None:
            continue
        try:
            values[option.key] = option.parse(text.value.strip())
        except ValueError as error:
            errors.append(f"{text.place}: '{text.value}' {error}")
    found = Values(values, texts)
    if problems is not None:
        errors += problems(found)
    if errors:
        raise ConfigErrors(errors)
    return found


def _environment_texts(
    options: Sequence[Option[Any]],
    environment: Mapping[str, str],
    prefix: str,
    errors: list[str],
) -> dict[str, Text]:
    by_variable = {option.variable: option for option in options}
    others = {other: o.variable for o in options for other in o.other_variables()}
    for name in sorted(environment):
        if name.startswith((prefix, "MQTT_")) and name not in by_variable:
            errors.append(f"{name}: no such variable{_meant(name, by_variable, others)}")
    return {
        option.key: Text(environment[variable], variable)
        for variable, option in by_variable.items()
        if environment.get(variable)
    }


def _file_texts(
    options: Sequence[Option[Any]], name: str, text: str, errors: list[str]
) -> dict[str, Text]:
    import yaml  # noqa: PLC0415 -- a service without a file is 1 MB smaller without it

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        errors.append(f"{place}: this is not YAML: {error.problem}")
        return {}
    except yaml.YAMLError as error:
        errors.append(f"{name}: this is not YAML: {error}")
        return {}
    found: dict[str, Text] = {}
    keys = {option.key for option in options}
    others = {other: option.key for option in options for other in option.other_keys()}
    for key, value, place in _leaves(root, name):
        if key not in keys:
            errors.append(f"{place}: no such option '{key}'{_meant(key, keys, others)}")
        elif key in found:
            errors.append(f"{place}: '{key}' was set before at {found[key].place}")
        else:
            found[key] = Text(value, place)
    return found


def _leaves(node: Any, name: str, path: str = "") -> Iterable[tuple[str, str, str]]:  # noqa: ANN401
    """(key, text, place) of each value in a YAML node; lists are joined by commas."""
    if node is None:
        return
    place = f"{name}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"
    if node.id == "mapping":
        for key, value in node.value:
            yield from _leaves(value, name, f"{path}.{key.value}" if path else str(key.value))
    elif node.id == "sequence":
        yield path, ",".join(str(item.value) for item in node.value), place
    elif path:
        yield path, str(node.value), place
    else:
        yield "", str(node.value), place


def _meant(name: str, known: Iterable[str], others: Mapping[str, str]) -> str:
    """What to use instead; `others` are words that stand for a known one."""
    meant = {**others, **{word: word for word in sorted(known)}}
    near = difflib.get_close_matches(name, list(meant), 1)
    return f"; did you mean {meant[near[0]]}?" if near else ""


# -- parsers: text to value, or ValueError with what would be right --------------------------


def number(low: float, high: float, unit: str = "") -> Callable[[str], float]:
    """A finite number in a range."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise ValueError(f"is not a number from {low:g} to {high:g}{unit and ' ' + unit}")
        return value

    return parse


def whole(low: int, high: int) -> Callable[[str], int]:
    """A whole number in a range; 0x for hexadecimal."""

    def parse(text: str) -> int:
        try:
            value = int(text, 0)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise ValueError(f"is not a whole number from {low} to {high}")
        return value

    return parse


def address(*allowed: int) -> Callable[[str], int]:
    """One of a chip's I2C addresses."""

    def parse(text: str) -> int:
        try:
            value = int(text, 0)
        except ValueError:
            value = -1
        if value not in allowed:
            names = " or ".join(f"0x{a:02x}" for a in allowed)
            raise ValueError(f"is not an address of this chip: {names}")
        return value

    return parse


def choice(choices: Mapping[str, T]) -> Callable[[str], T]:
    """One of some words."""

    def parse(text: str) -> T:
        if text not in choices:
            raise ValueError(f"is not one of {', '.join(choices)}")
        return choices[text]

    return parse


def seconds(low: float, high: float) -> Callable[[str], float]:
    """A time: ``10``, ``10s``, ``500ms``, ``5min``, ``6h``; in seconds."""
    factors = {"ms": 0.001, "min": 60.0, "s": 1.0, "m": 60.0, "h": 3600.0}

    def parse(text: str) -> float:
        unit = next((u for u in factors if text.endswith(u)), "")
        try:
            value = float(text.removesuffix(unit)) * factors.get(unit, 1.0)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise ValueError(f"is not a time from {low:g} s to {high:g} s, such as 10s or 500ms")
        return value

    return parse


def yes_no(text: str) -> bool:
    """A truth value as YAML and shells write it."""
    words = {"true": True, "yes": True, "on": True, "1": True}
    words |= {"false": False, "no": False, "off": False, "0": False}
    if text.lower() not in words:
        raise ValueError("is neither yes nor no")
    return words[text.lower()]


def numbers(count: int, low: float, high: float) -> Callable[[str], tuple[float, ...]]:
    """Several numbers with commas between."""
    one = number(low, high)

    def parse(text: str) -> tuple[float, ...]:
        parts = [part.strip() for part in text.split(",")]
        if len(parts) != count:
            raise ValueError(f"is not {count} numbers with commas between")
        return tuple(one(part) for part in parts)

    return parse


def optional(parse: Callable[[str], T]) -> Callable[[str], T | None]:
    """What `parse` takes; None stands for "not set"."""
    return parse


def listen_address(text: str) -> tuple[str, int]:
    """``host:port``; an IPv6 host in brackets."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise ValueError("is not host:port, such as 0.0.0.0:9280")
    return host.strip("[]"), int(port)
