"""Changes the values and the faults of models while they serve device nodes.

A request is a dictionary: ``chip`` names a place (``i2c-7:0x77``, ``spidev0.0``), with one of

- ``set``: attributes by path, ``{"source.temperature_celsius": 21.5}``
- ``get``: the path of an attribute
- ``call``: the name of a method, such as ``power_cycle``
- ``faults``: probabilities, by the names of `FaultRates`; the others become 0
- ``unplugged``: true disconnects the chip
- ``counts``: true, to get the number of each fault

or ``{"log": "i2c-7"}``, which returns the transfers so far and clears the log. The response is
``{"value": ...}`` or ``{"error": "what is wrong"}``.

Programs use a Unix socket or a TCP port, with one JSON request on each line; people use

    python3 -m chipmodels.control ADDRESS i2c-7:0x77 source.temperature_celsius=21.5 nack=0.05
"""

from __future__ import annotations

import dataclasses
import json
import socket
import sys
from collections.abc import Callable, Mapping, MutableSequence, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from chipmodels.faults import FaultRates, FaultyChip

T = TypeVar("T")

_RATES = frozenset(f.name for f in dataclasses.fields(FaultRates))


class ControlError(ValueError):
    """A request that cannot be fulfilled; the message says why."""


@dataclass(frozen=True)
class Control:
    """The chips and the logs of a server, by place."""

    chips: Mapping[str, FaultyChip]
    logs: Mapping[str, MutableSequence[Any]]

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Fulfil a request and return the response."""
        try:
            return {"value": self._do(dict(request))}
        except ControlError as error:
            return {"error": str(error)}
        except (AttributeError, TypeError, ValueError) as error:
            return {"error": f"{type(error).__name__}: {error}"}

    def _do(self, request: dict[str, Any]) -> object:
        if "log" in request:
            log = _at_place(self.logs, request["log"], "bus")
            transfers = list(log)
            log.clear()
            return transfers
        chip = _at_place(self.chips, request.pop("chip", None), "chip")
        actions: dict[str, Callable[[FaultyChip, Any], Any]] = {
            "set": _set,
            "get": lambda wrapped, path: _attribute(wrapped.chip, path),
            "call": lambda wrapped, name: getattr(wrapped.chip, name)(),
            "faults": _set_faults,
            "unplugged": lambda wrapped, away: setattr(wrapped, "unplugged", bool(away)),
            "counts": lambda wrapped, _: dict(wrapped.counts),
        }
        unknown = sorted(request.keys() - actions.keys())
        if unknown or not request:
            problem = f"there is no action '{unknown[0]}'" if unknown else "no action is given"
            raise ControlError(f"{problem}; the actions are {', '.join(actions)}")
        return [actions[name](chip, value) for name, value in request.items()][-1]


def _at_place(places: Mapping[str, T], name: object, kind: str) -> T:
    if name not in places:
        existing = ", ".join(sorted(places))
        raise ControlError(f"there is no {kind} '{name}'; these exist: {existing}")
    return places[str(name)]


def _attribute(chip: object, path: str) -> object:
    """Return the value at the path of an attribute."""
    value = chip
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _set(wrapped: FaultyChip, values: Mapping[str, Any]) -> None:
    for path, value in values.items():
        owner, _, name = path.rpartition(".")
        target = _attribute(wrapped.chip, owner) if owner else wrapped.chip
        if not hasattr(target, name):
            raise ControlError(f"{type(target).__name__} has no '{name}'")
        setattr(target, name, value)


def _set_faults(wrapped: FaultyChip, rates: Mapping[str, float]) -> None:
    unknown = sorted(rates.keys() - _RATES)
    if unknown:
        raise ControlError(
            f"there is no fault '{unknown[0]}'; the faults are {', '.join(sorted(_RATES))}"
        )
    wrapped.rates = FaultRates(**rates)


def _address(text: str) -> tuple[str, int] | None:
    """Return host and port of HOST:PORT, or None for a path."""
    host, colon, port = text.rpartition(":")
    return (host, int(port)) if colon and port.isdigit() and "/" not in host else None


class ControlSocket:
    """A socket for requests, in the same server loop as device nodes. Raises OSError.

    `address` is the path of a Unix socket, or HOST:PORT, which a health check can use.
    """

    def __init__(self, address: str | Path, control: Control) -> None:
        self._control = control
        internet = _address(str(address))
        if internet is not None:
            self._socket = socket.create_server(internet)
        else:
            Path(address).unlink(missing_ok=True)
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.bind(str(address))
            self._socket.listen()

    def fileno(self) -> int:
        """Return the file descriptor for select."""
        return self._socket.fileno()

    def answer(self) -> None:
        """Answer the requests of one client, which sends all of them before it waits."""
        connection, _ = self._socket.accept()
        with connection, connection.makefile("rwb") as stream:
            connection.settimeout(1)
            try:
                for line in stream:
                    stream.write(json.dumps(self._response(line), default=_plain).encode() + b"\n")
                    stream.flush()
            except OSError:
                return  # the client is gone, or sends no request

    def _response(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
        except ValueError:
            return {"error": "a request is one JSON object on a line"}
        if not isinstance(request, dict):
            return {"error": "a request is one JSON object on a line"}
        return self._control.answer(request)


def _plain(value: object) -> object:
    """Convert transfers and messages of a log for JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    return value.hex() if isinstance(value, bytes) else repr(value)


def _connected(address: str | Path) -> socket.socket:
    internet = _address(str(address))
    if internet is not None:
        return socket.create_connection(internet)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(address))
    return connection


def ask(address: str | Path, request: Mapping[str, Any]) -> object:
    """Send a request to the socket at `address` and return the value of the response.

    Raises `ControlError` and OSError.
    """
    with _connected(address) as s, s.makefile("rwb") as stream:
        stream.write(json.dumps(dict(request)).encode() + b"\n")
        stream.flush()
        response = json.loads(stream.readline())
    if "error" in response:
        raise ControlError(response["error"])
    return response["value"]


def request_of(words: Sequence[str]) -> dict[str, Any]:
    """Return the request of a command line: a place, then NAME=NUMBER or a method's name."""
    place, *rest = words
    if not rest:
        return {"log": place}
    pairs = dict(word.split("=", 1) for word in rest if "=" in word)
    calls = [word for word in rest if "=" not in word]
    values = {name: json.loads(text) for name, text in pairs.items()}
    request: dict[str, Any] = {"chip": place}
    faults = {name: value for name, value in values.items() if name in _RATES}
    others = {n: v for n, v in values.items() if n not in _RATES and n != "unplugged"}
    request |= {"faults": faults} if faults else {}
    request |= {"unplugged": values["unplugged"]} if "unplugged" in values else {}
    request |= {"set": others} if others else {}
    request |= {"call": calls[-1]} if calls else {}
    return request


def main(arguments: Sequence[str]) -> int:
    """Send a request. Return the exit code: 1 if it fails, 2 for an invalid command line."""
    try:
        path, *words = arguments
        request = request_of(words)
    except ValueError:
        sys.stderr.write("usage: chipmodels.control SOCKET PLACE [NAME=NUMBER...] [METHOD]\n")
        return 2
    try:
        value = ask(path, request)
    except (ControlError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if value is not None:
        sys.stdout.write(json.dumps(value) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
