"""A sensor service as a whole: its identity, its options, its station and its outputs."""

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
from sensorkit.station import Enough, Identity, Output, Plan, Station

if TYPE_CHECKING:
    from sensorkit.outputs.mqtt import MqttOutput

LINE_FORMS: dict[str, Form | None] = {"none": None, "json": json_line, "influx": influx_line}
PASSWORD_SECRET = Path("/run/secrets/mqtt_password")
"""Where a container has its secret mqtt_password."""
_SLOTS = 720


class OutputOptions:
    """Options of every service: `prefix` of its variables, `port` of its web server."""

    def __init__(self, prefix: str, port: int) -> None:
        self.lines: Option[Form | None] = Option(
            *("lines", f"{prefix}LINES", choice(LINE_FORMS), None),
            help="format of lines on standard output: none, json or influx",
        )
        self.listen = Option(
            *("http.listen", f"{prefix}HTTP_LISTEN", listen_address, ("0.0.0.0", port)),  # noqa: S104
            help="address of the page, /metrics, /healthz and /api",
            also=("port", "address", "bind"),
        )
        self.hours = Option(
            "history_hours",
            f"{prefix}HISTORY_HOURS",
            number(0.1, 168),
            6.0,
            "hours that the plots show",
        )
        self.host = Option(
            *("mqtt.host", "MQTT_HOST", str, "", "host name of the broker; empty: no MQTT"),
            also=("broker", "server", "hostname", "address", "url", "uri"),
        )
        self.port = Option(
            *("mqtt.port", "MQTT_PORT", optional(whole(1, 65535)), None),
            help="port of the broker (default: 1883, with TLS 8883)",
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
            help=f"file that holds the password (default: {PASSWORD_SECRET}, if it exists)",
        )
        self.tls = Option("mqtt.tls", "MQTT_TLS", yes_no, False, "use TLS", also=("ssl",))
        self.ca_file = Option(
            *("mqtt.ca_file", "MQTT_CA_FILE", optional(readable_file), None),
            help="certificate authority of the broker, PEM (default: the system's)",
            also=("ca", "cafile", "ca_cert"),
        )
        self.cert_file = Option(
            *("mqtt.cert_file", "MQTT_CERT_FILE", optional(readable_file), None),
            help="client certificate, PEM",
        )
        self.key_file = Option(
            *("mqtt.key_file", "MQTT_KEY_FILE", optional(readable_file), None),
            help="key of the client certificate, PEM",
        )
        self.node = Option(
            *("mqtt.node", "MQTT_NODE", optional(_topic_level), None),
            help="unique name of this device at the broker (default: SERVICE_HOSTNAME)",
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
        """Return all options of the group."""
        return tuple(vars(self).values())

    def problems(self, values: Values) -> list[str]:
        """Return what is wrong with the combination of options."""
        errors = []
        if values[self.password] is not None and values[self.password_file] is not None:
            errors.append(f"{values.place(self.password)}: set the password or its file, not both")
        if (values[self.cert_file] is None) != (values[self.key_file] is None):
            place = values.place(self.cert_file)
            errors.append(f"{place}: a certificate needs its key, and a key its certificate")
        for option in (self.ca_file, self.cert_file):
            if values[option] is not None and not values[self.tls]:
                errors.append(f"{values.place(option)}: a certificate needs mqtt.tls: yes")
        return errors


@dataclass(frozen=True)
class Service:
    """One service: its options, their cross-checks, and the plans of its chips."""

    identity: Identity
    prefix: str
    outputs: OutputOptions
    options: tuple[Option[Any], ...]
    problems: Callable[[Values], list[str]]
    plans: Callable[[Values, Clock], Sequence[Plan]]
    enough: Enough = all

    def all_options(self) -> tuple[Option[Any], ...]:
        """Return the options of the chips, then those of the outputs."""
        return (*self.options, *self.outputs.all())

    def all_problems(self, values: Values) -> list[str]:
        """Return what is wrong with the combination of options."""
        return self.problems(values) + self.outputs.problems(values)


def readable_file(text: str) -> Path:
    """Parse the path of a file, which must be readable now."""
    path = Path(text)
    try:
        with path.open("rb"):
            return path
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None


def _topic_level(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", text):
        raise ValueError("may contain only letters, digits, _ and -")
    return text


def _topic(text: str) -> str:
    if not re.fullmatch(r"[^#+\s/]+(/[^#+\s/]+)*", text):
        raise ValueError("is not a topic: it must not contain #, + or blanks")
    return text


def serve(service: Service, values: Values, clock: Clock, stop: threading.Event) -> None:
    """Sample and publish until `stop` is set. Raises OSError if the HTTP port is taken."""
    from sensorkit.outputs.documents import Documents  # noqa: PLC0415 -- `read` needs none of it
    from sensorkit.outputs.history import History  # noqa: PLC0415
    from sensorkit.outputs.prometheus import Exposition  # noqa: PLC0415
    from sensorkit.outputs.server import WebServer, answering  # noqa: PLC0415
    from sensorkit.outputs.web import routes  # noqa: PLC0415

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
    documents = Documents(service.identity, station, history, clock, service.enough)
    exposition = Exposition(service.identity, station.states)
    web = WebServer(*values[outputs.listen], answering(routes(documents, exposition)))
    web.start()
    if mqtt is not None:
        mqtt.start()
    try:
        station.run(stop)
    finally:
        web.stop()
        if mqtt is not None:
            mqtt.stop()


def _password(given: str | None, file: Path | None, secret: Path) -> str | None:
    """Return the password: the one `given`, or that of `file`, or the secret of the container."""
    if given is not None:
        return given
    if file is None and not secret.exists():
        return None
    return (file or secret).read_text().strip()


def _mqtt(service: Service, values: Values, plans: Sequence[Plan]) -> MqttOutput:
    import socket  # noqa: PLC0415

    from sensorkit.outputs.mqtt import MqttOutput, MqttSettings, TlsSettings  # noqa: PLC0415

    o = service.outputs
    files = (values[o.ca_file], values[o.cert_file], values[o.key_file])
    tls = TlsSettings(*files) if values[o.tls] else None
    host_name = re.sub(r"[^A-Za-z0-9_-]", "_", socket.gethostname())
    settings = MqttSettings(
        host=values[o.host],
        node=values[o.node] or f"{service.identity.name}_{host_name}",
        port=values[o.port] or (8883 if tls else 1883),
        username=values[o.username],
        password=_password(values[o.password], values[o.password_file], PASSWORD_SECRET),
        tls=tls,
        prefix=values[o.topic_prefix],
        discovery_prefix=values[o.discovery_prefix],
        expire_after=max(30, round(3 * max(plan.interval for plan in plans))),
    )
    switches = {plan.chip.name: plan.switch for plan in plans if plan.switch is not None}
    channels = {plan.chip.name: plan.channels for plan in plans}
    return MqttOutput(settings, service.identity, channels, switches)
