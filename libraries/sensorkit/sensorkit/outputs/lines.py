"""Each sample as a line on standard output: JSON, or InfluxDB's line protocol."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TextIO

from sensorkit.measurement import Sample
from sensorkit.station import ChipState

Form = Callable[[str, str, Sample], str]


def json_line(service: str, chip: str, sample: Sample) -> str:
    """Return ``{"time": 1700000000.0, "service": …, "sensor": …, "humidity_ratio": 0.45}``."""
    head = {"time": round(sample[0].time, 3), "service": service, "sensor": chip}
    return json.dumps(head | {m.channel.metric_key: m.rounded for m in sample})


def influx_line(service: str, chip: str, sample: Sample) -> str:
    """Return ``bmp280,sensor=bmp280 humidity_ratio=0.45 1700000000000000000``."""
    fields = ",".join(f"{m.channel.metric_key}={m.rounded!r}" for m in sample)
    nanoseconds = round(sample[0].time * 1000) * 1_000_000
    return f"{_escaped(service)},sensor={_escaped(chip)} {fields} {nanoseconds}"


def _escaped(text: str) -> str:
    for special in ("\\", ",", "=", " "):
        text = text.replace(special, f"\\{special}")
    return text


class LineOutput:
    """Writes lines to a stream until its reader is gone."""

    def __init__(self, service: str, stream: TextIO, form: Form) -> None:
        self._service = service
        self._stream = stream
        self._form = form
        self._open = True

    def publish(self, state: ChipState) -> None:
        """Write one line for a sample, and none for a failed one."""
        if not state.sample or not self._open:
            return
        try:
            self._stream.write(self._form(self._service, state.name, state.sample) + "\n")
            self._stream.flush()
        except OSError:
            self._open = False
