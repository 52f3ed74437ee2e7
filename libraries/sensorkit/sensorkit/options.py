"""Options of a service, from one YAML file and the environment. All errors are reported at once.

An option has a key in the file (``mqtt.host``) and a variable (``MQTT_HOST``), which takes
precedence. Both are parsed from text, so that the same text means the same in both.
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
    """One option. `parse` raises ValueError with a message that says what is allowed.

    `also` are other words that people may write in place of the last one of its key. Such a key
    is an error whose message names this option.
    """

    key: str
    variable: str
    parse: Callable[[str], T]
    default: T
    help: str
    also: tuple[str, ...] = ()

    @property
    def names(self) -> str:
        """The key and the variable, for a message."""
        return f"{self.key} ({self.variable})"

    def other_keys(self) -> tuple[str, ...]:
        """Return wrong keys that people may write for this option."""
        first, dot, _ = self.key.rpartition(".")
        return tuple(f"{first}{dot}{word}" for word in self.also)

    def other_variables(self) -> tuple[str, ...]:
        """Return wrong variables that people may set for this option."""
        last = self.key.rpartition(".")[2].upper()
        return tuple(self.variable.removesuffix(last) + word.upper() for word in self.also)


@dataclass(frozen=True)
class Text:
    """The text of a value and the place where it was set."""

    value: str
    place: str


class Values:
    """The values of the options. The index is the option itself, which gives the type."""

    def __init__(self, values: Mapping[str, object], texts: Mapping[str, Text]) -> None:
        self._values = values
        self._texts = texts

    def __getitem__(self, option: Option[T]) -> T:
        return cast(T, self._values[option.key])

    def place(self, option: Option[Any]) -> str:
        """Return where the option was set, for a message; its variable if it was not set."""
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

    An unknown key is an error, and so is an unknown variable that begins with `prefix`, the
    service's own (``BMP280_``). `problems` returns errors in the combination of options. Raises
    `ConfigErrors` with all errors.
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
    result = Values(values, texts)
    if problems is not None:
        errors += problems(result)
    if errors:
        raise ConfigErrors(errors)
    return result


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
            errors.append(f"{name}: no such variable{_suggestion(name, by_variable, others)}")
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
    texts: dict[str, Text] = {}
    keys = {option.key for option in options}
    others = {other: option.key for option in options for other in option.other_keys()}
    for key, value, place in _leaves(root, name):
        if key not in keys:
            errors.append(f"{place}: no such option '{key}'{_suggestion(key, keys, others)}")
        elif key in texts:
            errors.append(f"{place}: '{key}' is already set at {texts[key].place}")
        else:
            texts[key] = Text(value, place)
    return texts


def _leaves(node: Any, name: str, path: str = "") -> Iterable[tuple[str, str, str]]:  # noqa: ANN401
    """Yield (key, text, place) of each value in a YAML node. Commas join the items of a list."""
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


def _suggestion(name: str, known: Iterable[str], others: Mapping[str, str]) -> str:
    """Return a hint at the name that was meant; `others` map wrong words to known ones."""
    meant = {**others, **{word: word for word in sorted(known)}}
    near = difflib.get_close_matches(name, list(meant), 1)
    return f"; did you mean {meant[near[0]]}?" if near else ""


# -- parsers: text to value, or ValueError with what is allowed ------------------------------


def number(low: float, high: float, unit: str = "") -> Callable[[str], float]:
    """Return a parser of finite numbers in a range."""

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
    """Return a parser of whole numbers in a range; 0x begins a hexadecimal one."""

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
    """Return a parser of the I2C addresses that a chip can have."""

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
    """Return a parser of the words of `choices`."""

    def parse(text: str) -> T:
        if text not in choices:
            raise ValueError(f"is not one of {', '.join(choices)}")
        return choices[text]

    return parse


def seconds(low: float, high: float) -> Callable[[str], float]:
    """Return a parser of times, in seconds: ``10``, ``10s``, ``500ms``, ``5min``, ``6h``."""
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
    """Parse a truth value as YAML and shells write it."""
    words = {"true": True, "yes": True, "on": True, "1": True}
    words |= {"false": False, "no": False, "off": False, "0": False}
    if text.lower() not in words:
        raise ValueError("is neither yes nor no")
    return words[text.lower()]


def numbers(count: int, low: float, high: float) -> Callable[[str], tuple[float, ...]]:
    """Return a parser of `count` numbers that commas separate."""
    parse_number = number(low, high)

    def parse(text: str) -> tuple[float, ...]:
        parts = [part.strip() for part in text.split(",")]
        if len(parts) != count:
            raise ValueError(f"must be {count} numbers, separated by commas")
        return tuple(parse_number(part) for part in parts)

    return parse


def optional(parse: Callable[[str], T]) -> Callable[[str], T | None]:
    """Return `parse` with a type that allows the default None, which means "not set"."""
    return parse


def listen_address(text: str) -> tuple[str, int]:
    """Parse ``host:port``, with an IPv6 address in brackets."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise ValueError("is not host:port, such as 0.0.0.0:9280")
    return host.strip("[]"), int(port)
