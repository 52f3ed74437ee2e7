"""The section `gpio:`: lines that the system holds for programs in containers."""

import re
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from piimage.config.sensors import SensorName
from piimage.config.values import Interval, Part, as_text, form, problem, quoted

_OUTPUT_ONLY: Final = ("at_boot", "on_failure", "at_shutdown")
_INPUT_ONLY: Final = ("pull", "debounce")
_MOST_DEBOUNCE: Final = 10.0
_TEXT_OR_NUMBER: Final = [{"type": "string"}, {"type": "number"}]

State = Literal["on", "off"]
StateOrKeep = Literal["on", "off", "keep"]


def _state(value: object) -> object:
    """Return a state of an output; a truth value is one too."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


def _debounce(value: object) -> float:
    """Return a time in seconds: a number of seconds, or text such as 20ms."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s)?", str(as_text(value)))
    seconds = float(match[1]) * (0.001 if match[2] == "ms" else 1.0) if match else -1.0
    if isinstance(value, bool) or not 0 <= seconds <= _MOST_DEBOUNCE:
        raise problem(f"{quoted(value)} is no time to debounce for", "0 to 10s, such as 20ms")
    return seconds


ChipLabel = Annotated[
    str, *form(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,31}", "label of a GPIO chip", "such as gpio-sim.0")
]


class GpioLine(Part):
    """A line of GPIO: an input, a counter of pulses, or an output."""

    name: SensorName = Field(
        description="Name of the line in metrics, topics and pages; unique among `sensors:` too."
    )
    kind: Literal["input", "counter", "output"] = Field(
        description="input: a contact or detector; counter: pulses, each time that the line "
        "becomes active; output: a relay or lamp."
    )
    line: int = Field(
        ge=0, le=511, description="Number of the line; on the header, GPIO 0 to 27 (not the pin)."
    )
    chip: ChipLabel | None = Field(
        default=None,
        description="Label of the GPIO chip, or its start (default: the chip of the header).",
    )
    active: Literal["high", "low"] = Field(
        default="high", description="low: the line is active at 0 V, as with a contact to ground."
    )
    pull: Literal["up", "down", "none"] | None = Field(
        default=None,
        description="Resistor of the chip, for inputs and counters (default: as it is).",
    )
    debounce: Annotated[
        float, BeforeValidator(_debounce), WithJsonSchema({"anyOf": _TEXT_OR_NUMBER})
    ] = Field(
        default=0.0,
        description="Time for which an input or counter must be steady, such as 20ms.",
    )
    at_boot: Annotated[State, BeforeValidator(_state)] = Field(
        default="off", description="State of an output from the start of the system on."
    )
    on_failure: Annotated[StateOrKeep, BeforeValidator(_state)] | None = Field(
        default=None,
        description="State of an output when the program that set it last has ended or does not "
        "answer for 30 s; keep: as it is (default: as at_boot).",
    )
    at_shutdown: Annotated[StateOrKeep, BeforeValidator(_state)] | None = Field(
        default=None,
        description="State of an output when the Pi shuts down or restarts (default: as at_boot).",
    )
    every: Interval = Field(
        default=10,
        description="With `use: sensors`: longest time between samples. A change of an input or "
        "output is published at once.",
    )

    @model_validator(mode="before")
    @classmethod
    def _of_kind(cls, data: Any) -> Any:  # noqa: ANN401  # any YAML
        """Refuse a key that has no meaning for this kind of line."""
        if not isinstance(data, dict):
            return data
        kind = data.get("kind")
        wrong = {"output": _INPUT_ONLY, "input": _OUTPUT_ONLY, "counter": _OUTPUT_ONLY}
        for key in wrong.get(kind, ()) if isinstance(kind, str) else ():
            if data.get(key) is not None:
                other = "inputs and counters" if key in _INPUT_ONLY else "outputs"
                raise problem(f"{key}: is for {other}", f"leave out {key}: for this {kind}")
        return data

    def state(self, when: Literal["on_failure", "at_shutdown"]) -> bool | None:
        """Return the state of an output at such a time; None: as it is."""
        state = self.on_failure if when == "on_failure" else self.at_shutdown
        return {"on": True, "off": False, "keep": None}[state or self.at_boot]
