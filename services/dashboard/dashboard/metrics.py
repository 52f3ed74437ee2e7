"""The text of ``/metrics``, in the format 0.0.4 of Prometheus.

prometheus_client is not used here: importing it takes ten megabytes, more than all the rest.
Source: Prometheus, docs/instrumenting/exposition_formats.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from dashboard.host import Host
from dashboard.services import Service

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
_STATES = ("waiting", "running", "back-off", "exited", "stopped", "scheduled")

_Labels = Mapping[str, str]
_Samples = Iterable[tuple[_Labels, float | None]]


def exposition(host: Host, services: Sequence[Service]) -> bytes:
    """Return all metrics; what is not known is left out."""
    return "".join((*_host(host), *_services(services))).encode()


def _host(host: Host) -> Iterator[str]:
    about = {
        "board": host.board, "kernel": host.kernel, "slot": host.slot, "version": host.version,
    }  # fmt: skip
    yield _family("piimage_info", "gauge", "About this Pi.", [(about, 1)])
    modes = [({"mode": mode}, seconds) for mode, seconds in host.cpu_seconds.items()]
    yield _family("piimage_cpu_seconds_total", "counter", "Time of all processors.", modes)
    disk = {"mountpoint": "/data"}
    for name, text, labels, value in (
        ("uptime_seconds", "Time since the boot.", {}, host.uptime_seconds),
        ("load1", "Load average of one minute.", {}, host.load),
        ("memory_total_bytes", "Size of the memory.", {}, host.memory_bytes),
        ("memory_available_bytes", "Memory that programs can get.", {}, host.available_bytes),
        ("filesystem_size_bytes", "Size of the data partition.", disk, host.disk_bytes),
        ("filesystem_avail_bytes", "Free bytes of the data partition.", disk, host.disk_free_bytes),
        ("temperature_celsius", "Temperature of the hottest zone.", {}, host.celsius),
        ("low_voltage", "1 while the supply voltage is too low.", {}, host.low_voltage),
        ("throttled", "1 while the firmware slows the processors.", {}, host.throttled),
        ("data_temporary", "1 if /data is lost at a restart.", {}, host.data_is_temporary),
    ):
        yield _family(f"piimage_{name}", "gauge", text, [(labels, value)])


def _services(services: Sequence[Service]) -> Iterator[str]:
    def each(value: str) -> _Samples:
        return [({"container": s.name}, getattr(s, value)) for s in services]

    for name, kind, text, value in (
        ("cpu_seconds_total", "counter", "Processor time that the container used.", "cpu_seconds"),
        ("memory_bytes", "gauge", "Memory of the container, with cached files.", "memory_bytes"),
        ("memory_limit_bytes", "gauge", "Limit of the memory.", "memory_limit_bytes"),
        ("oom_kills_total", "counter", "Processes killed for lack of memory.", "oom_kills"),
        ("processes", "gauge", "Processes and threads of the container.", "processes"),
        ("restarts_total", "counter", "Restarts of the container by its policy.", "restarts"),
        ("up", "gauge", "1 if the service is as it should be.", "is_up"),
    ):
        yield _family(f"piimage_container_{name}", kind, text, each(value))
    states = [
        ({"container": s.name, "state": state}, s.state == state)
        for s in services
        for state in _STATES
    ]
    yield _family("piimage_container_state", "gauge", "1 for the state of the service.", states)


def _family(name: str, kind: str, text: str, samples: _Samples) -> str:
    lines = [
        f"{name}{_labels(labels)} {_value(value)}\n"
        for labels, value in samples
        if value is not None
    ]
    return "".join((f"# HELP {name} {text}\n", f"# TYPE {name} {kind}\n", *lines)) if lines else ""


def _labels(labels: _Labels) -> str:
    pairs = ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def _value(value: float) -> str:
    return repr(float(value)) if isinstance(value, float) else str(int(value))
