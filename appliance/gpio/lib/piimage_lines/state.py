"""What the lines are now, and the rules of outputs: nothing here waits, or asks for the time."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from piimage_lines.held import Held
from piimage_lines.settings import Line


class Unknown(Exception):
    """A program asked for an output that there is not, or that is not held now."""


class Lines:
    """The lines of the Pi, some of which may not be held: their chip is missing, or in use.

    `counts` are those of before. A program is any value that tells it from others.
    """

    def __init__(self, lines: Iterable[Line], counts: Mapping[str, int]) -> None:
        self.settings = {line.name: line for line in lines}
        counters = [line.name for line in self.settings.values() if line.kind == "counter"]
        self._counts = {name: counts.get(name, 0) for name in counters}
        self._held: dict[str, Held] = {}
        self._active: dict[str, bool] = {}
        self._errors = dict.fromkeys(self.settings, "not held yet")
        self._setters: dict[str, Hashable] = {}
        self._changed: dict[str, None] = {}

    @property
    def counts(self) -> Mapping[str, int]:
        """The counts of pulses, by the name of the line."""
        return dict(self._counts)

    def missing(self) -> list[Line]:
        """Return the lines that are not held."""
        return [line for name, line in self.settings.items() if name not in self._held]

    def error(self, name: str) -> str:
        """Return why a line is not held; empty if it is."""
        return self._errors.get(name, "")

    def add(self, name: str, held: Held) -> None:
        """Note that a line is held from now on."""
        line = self.settings[name]
        self._active[name] = line.at_boot if line.kind == "output" else held.value()
        self._held[name] = held
        self._errors.pop(name, None)
        self._note(name)

    def lose(self, name: str, reason: str) -> None:
        """Note that a line is not held (any more), and why."""
        held = self._held.pop(name, None)
        if held is not None:
            held.close()
        self._active.pop(name, None)
        self._setters.pop(name, None)
        if self._errors.get(name) != reason:
            self._errors[name] = reason
            self._note(name)

    def read(self, name: str) -> None:
        """Take the edges of an input or counter. The line is lost if its chip is gone."""
        try:
            count, active = self._held[name].edges()
        except OSError as error:
            self.lose(name, f"the chip is gone ({error.strerror})")
            return
        if self.settings[name].kind == "counter":
            self._counts[name] += count
        self._active[name] = active
        self._note(name)

    def set(self, name: str, value: bool, program: Hashable) -> None:
        """Set an output for `program`. Raises `Unknown` if there is none of this name."""
        line = self.settings.get(name)
        if line is None or line.kind != "output":
            raise Unknown(f"there is no output {name}")
        if name not in self._held:
            raise Unknown(f"the output {name} is not held: {self._errors[name]}")
        self._setters[name] = program
        self._put(name, value)

    def left(self, program: Hashable) -> None:
        """Give each output that `program` set last the state for the failure of a program."""
        for name in [name for name, setter in self._setters.items() if setter == program]:
            del self._setters[name]
            state = self.settings[name].on_failure
            if state is not None:
                self._put(name, state)

    def sets(self, program: Hashable) -> bool:
        """Return whether `program` was the last to set any output."""
        return program in self._setters.values()

    def shut_down(self) -> None:
        """Give each output its state for a shutdown."""
        for name in tuple(self._held):
            line = self.settings[name]
            if line.kind == "output" and line.at_shutdown is not None:
                self._put(name, line.at_shutdown)

    def document(self, names: Iterable[str] | None = None) -> dict[str, Any]:
        """Return the state of the lines `names`, or of all."""
        chosen = self.settings if names is None else names
        return {"lines": {name: self._entry(name) for name in chosen}}

    def is_changed(self) -> bool:
        """Return whether any line has changed since the last call of `changed`."""
        return bool(self._changed)

    def changed(self) -> tuple[str, ...]:
        """Return the lines that have changed since the last call."""
        names = tuple(self._changed)
        self._changed.clear()
        return names

    def _put(self, name: str, value: bool) -> None:
        try:
            self._held[name].set(value)
        except OSError as error:
            self.lose(name, f"the chip is gone ({error.strerror})")
            return
        self._active[name] = value
        self._note(name)

    def _entry(self, name: str) -> dict[str, Any]:
        entry: dict[str, Any] = {"kind": self.settings[name].kind}
        if name in self._errors:
            return entry | {"error": self._errors[name]}
        if self.settings[name].kind == "counter":
            entry["count"] = self._counts[name]
        else:
            entry["active"] = self._active[name]
        return entry

    def _note(self, name: str) -> None:
        self._changed[name] = None
