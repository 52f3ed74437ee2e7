"""A sensor service as a whole: what it is, its options, and its station with all outputs."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensorkit.clock import Clock
from sensorkit.options import (
    Option,
    Values,
    choice,
    listen_address,
    number,
    optional,
    whole,
    yes_no,
)
from sensorkit.outputs.lines import Form, LineOutput, influx_line, json_line
from sensorkit.station import Identity, Output, Plan, Station

if TYPE_CHECKING:
    from sensorkit.outputs.mqtt import MqttOutput

LINE_FORMS: dict[str, Form | None] = {"none": None, "json": json_line, "influx": influx_line}
_SLOTS = 720


class OutputOptions:
    """Options that every service has. `prefix` is that of its variables, `port` its HTTP port."""

    def __init__(self, prefix: str, port: int) -> None:
        self.lines: Option[Form | None] = Option(
            *("lines", f"{prefix}LINES", choice(LINE_FORMS), None),
            help="lines on standard output: none, json or influx",
        )
        self.listen = Option(
            *("http.listen", f"{prefix}HTTP_LISTEN", listen_address, ("0.0.0.0", port)),  # noqa: S104
            help="address of the page, /metrics, /healthz and /api",
            also=("port", "address", "bind"),
        )
        self.hours = Option(
            "history_hours", f"{prefix}HISTORY_HOURS", number(0.1, 168), 6.0, "length of the plots"
        )
        self.host = Option(
            *("mqtt.host", "MQTT_HOST", str, "", "broker; empty for no MQTT"),
            also=("broker", "server", "hostname", "address", "url", "uri"),
        )
        self.port = Option(
            *("mqtt.port", "MQTT_PORT", optional(whole(1, 65535)), None),
            help="broker's port; 1883, with TLS 8883",
        )
        self.username = Option(
            *("mqtt.username", "MQTT_USERNAME", optional(str), None, "user name"),
            also=("user", "login"),
        )
        self.password = Option(
            *("mqtt.password", "MQTT_PASSWORD", optional(str), None, "password"),
            also=("pass", "passwd", "pwd"),
        )
        self.password_file = Option(
            *("mqtt.password_file", "MQTT_PASSWORD_FILE", optional(readable_file), None),
            help="file that holds the password",
        )
        self.tls = Option("mqtt.tls", "MQTT_TLS", yes_no, False, "speak TLS", also=("ssl",))
        self.ca_file = Option(
            *("mqtt.ca_file", "MQTT_CA_FILE", optional(readable_file), None),
            help="authority of the broker's certificate, PEM",
            also=("ca", "cafile", "ca_cert"),
        )
        self.cert_file = Option(
            *("mqtt.cert_file", "MQTT_CERT_FILE", optional(readable_file), None),
            help="own certificate, PEM",
        )
        self.key_file = Option(
            *("mqtt.key_file", "MQTT_KEY_FILE", optional(readable_file), None), help="its key, PEM"
        )
        self.node = Option(
            *("mqtt.node", "MQTT_NODE", optional(_topic_level), None),
            help="name of this device at the broker; service and host name",
            also=("client_id", "clientid", "name"),
        )
        self.topic_prefix = Option(
            *("mqtt.prefix", "MQTT_PREFIX", _topic, "sensorkit", "first level of the topics"),
            also=("topic", "base_topic", "root"),
        )
        self.discovery_prefix = Option(
            *("mqtt.discovery_prefix", "MQTT_DISCOVERY_PREFIX", _topic, "homeassistant"),
            help="Home Assistant's discovery prefix",
        )
        self.buffer = Option(
            *("mqtt.buffer", "MQTT_BUFFER", whole(1, 10_000), 120),
            help="has no effect: only the newest sample of each chip waits for the broker",
        )

    def all(self) -> tuple[Option[Any], ...]:
        """Every option of the group."""
        return tuple(vars(self).values())

    def problems(self, values: Values) -> list[str]:
        """What is wrong with options taken together."""
        found = []
        if values[self.password] is not None and values[self.password_file] is not None:
            found.append(f"{values.place(self.password)}: give the password or its file, not both")
        if (values[self.cert_file] is None) != (values[self.key_file] is None):
            place = values.place(self.cert_file)
            found.append(f"{place}: a certificate and its key go together")
        for option in (self.ca_file, self.cert_file):
            if values[option] is not None and not values[self.tls]:
                found.append(f"{values.place(option)}: certificates need mqtt.tls: yes")
        return found


@dataclass(frozen=True)
class Service:
    """One service: options, cross-checks, and the plans of its chips made of the values."""

    identity: Identity
    prefix: str
    outputs: OutputOptions
    options: tuple[Option[Any], ...]
    problems: Callable[[Values], list[str]]
    plans: Callable[[Values, Clock], Sequence[Plan]]

    def all_options(self) -> tuple[Option[Any], ...]:
        """The chips' options, then those of the outputs."""
        return (*self.options, *self.outputs.all())

    def all_problems(self, values: Values) -> list[str]:
        """What is wrong with options taken together."""
        return self.problems(values) + self.outputs.problems(values)


def readable_file(text: str) -> Path:
    """A file that can be read now."""
    path = Path(text)
    try:
        with path.open("rb"):
            return path
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None


def _topic_level(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", text):
        raise ValueError("is not made of letters, digits, _ and - only")
    return text


def _topic(text: str) -> str:
    if not re.fullmatch(r"[^#+\s/]+(/[^#+\s/]+)*", text):
        raise ValueError("is not a topic; # and + and blanks cannot be in it")
    return text


def serve(service: Service, values: Values, clock: Clock, stop: threading.Event) -> None:
    """Sample and publish until `stop` is set. Raises OSError when the HTTP port is taken."""
    from sensorkit.outputs.documents import Documents  # noqa: PLC0415 -- `read` needs none of it
    from sensorkit.outputs.history import History  # noqa: PLC0415
    from sensorkit.outputs.prometheus import Exposition  # noqa: PLC0415
    from sensorkit.outputs.web import WebServer, routes  # noqa: PLC0415

    plans = service.plans(values, clock)
    channels = tuple(c for plan in plans for c in plan.channels)
    outputs = service.outputs
    history = History(channels, seconds=values[outputs.hours] * 3600, slots=_SLOTS)
    used: list[Output] = [history]
    form = values[outputs.lines]
    if form is not None:
        used.append(LineOutput(service.identity.name, sys.stdout, form))
    mqtt = _mqtt(service, values, plans) if values[outputs.host] else None
    if mqtt is not None:
        used.append(mqtt)
    station = Station(plans, used, clock)
    documents = Documents(service.identity, station, history, clock)
    exposition = Exposition(service.identity, station.states)
    web = WebServer(*values[outputs.listen], routes(documents, exposition))
    web.start()
    if mqtt is not None:
        mqtt.start()
    try:
        station.run(stop)
    finally:
        web.stop()
        if mqtt is not None:
            mqtt.stop()


def _mqtt(service: Service, values: Values, plans: Sequence[Plan]) -> MqttOutput:
    import socket  # noqa: PLC0415

    from sensorkit.outputs.mqtt import MqttOutput, MqttSettings, TlsSettings  # noqa: PLC0415

    o = service.outputs
    files = (values[o.ca_file], values[o.cert_file], values[o.key_file])
    tls = TlsSettings(*files) if values[o.tls] else None
    secret = values[o.password_file]
    host_name = re.sub(r"[^A-Za-z0-9_-]", "_", socket.gethostname())
    settings = MqttSettings(
        host=values[o.host],
        node=values[o.node] or f"{service.identity.name}_{host_name}",
        port=values[o.port] or (8883 if tls else 1883),
        username=values[o.username],
        password=secret.read_text().strip() if secret else values[o.password],
        tls=tls,
        prefix=values[o.topic_prefix],
        discovery_prefix=values[o.discovery_prefix],
        expire_after=max(30, round(3 * max(plan.interval for plan in plans))),
    )
    return MqttOutput(settings, service.identity, {p.chip.name: p.channels for p in plans})
