"""MQTT: states, availability with a last will, and discovery by Home Assistant.

Topics under ``<prefix>/<node>``: ``availability`` (online, offline; retained), one state topic a
chip, and below that of an output ``set``, where ON and OFF are its commands. While the broker is
away, only the newest sample of each chip waits. Subscribers take each sample for a current one, so
an older one would mislead them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from sensorkit.outputs.home_assistant import (
    OFF,
    ON,
    ChannelsByChip,
    command_topic,
    discovery,
    state,
)
from sensorkit.station import ChipState, Identity

_ONLINE, _OFFLINE = "online", "offline"
_RECONNECT_SECONDS = (1, 60)
_KEEPALIVE_SECONDS = 30


@dataclass(frozen=True)
class TlsSettings:
    """Files in PEM; without `ca_file`, the system's authorities are trusted."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


@dataclass(frozen=True)
class MqttSettings:
    """The broker and how to connect to it. `node` must be unique at the broker."""

    host: str
    node: str
    port: int = 1883
    username: str | None = None
    password: str | None = None
    tls: TlsSettings | None = None
    prefix: str = "sensorkit"
    discovery_prefix: str = "homeassistant"
    expire_after: int = 60


class MqttOutput:
    """Publishes to a broker from paho's own thread; `publish` does not wait for it."""

    def __init__(
        self,
        settings: MqttSettings,
        identity: Identity,
        chips: ChannelsByChip,
        switches: Mapping[str, Callable[[bool], None]] | None = None,
    ) -> None:
        self._settings = settings
        self._base = f"{settings.prefix}/{settings.node}"
        self._identity = identity
        self._chips = {name: dict.fromkeys(channels) for name, channels in chips.items()}
        self._switches = {
            command_topic(f"{self._base}/{name}"): switch
            for name, switch in (switches or {}).items()
        }
        self._waiting: dict[str, str] = {}  # payloads by topic
        self._lock = threading.Lock()
        self._client = self._make_client()

    def _make_client(self) -> paho.Client:
        s = self._settings
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=s.node)
        client.will_set(f"{self._base}/availability", _OFFLINE, qos=1, retain=True)
        client.reconnect_delay_set(*_RECONNECT_SECONDS)
        if s.username is not None:
            client.username_pw_set(s.username, s.password)
        if s.tls is not None:
            ca, cert, key = (_path(f) for f in (s.tls.ca_file, s.tls.cert_file, s.tls.key_file))
            client.tls_set(ca, cert, key)
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        return client

    def start(self) -> None:
        """Start to connect, and to reconnect after every failure."""
        self._client.connect_async(self._settings.host, self._settings.port, _KEEPALIVE_SECONDS)
        self._client.loop_start()

    def stop(self) -> None:
        """Announce that this device goes offline, and disconnect."""
        if self._client.is_connected():
            self._announce(_OFFLINE).wait_for_publish(2)
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, chip: ChipState) -> None:
        """Send a sample, or keep it until the broker is back or the sample is no longer valid."""
        topic = f"{self._base}/{chip.name}"
        with self._lock:
            if chip.sample:
                self._waiting[topic] = json.dumps(state(chip.sample))
            elif not chip.health.healthy:
                self._waiting.pop(topic, None)
            known = self._chips.setdefault(chip.name, {})
            new = [m.channel for m in chip.sample if m.channel not in known]
            known.update(dict.fromkeys(new))
        if new and self._client.is_connected():
            self._introduce()
        self._send_waiting()

    def _send_waiting(self) -> None:
        """Send at QoS 0: at QoS 1, paho would repeat older samples after an outage."""
        with self._lock:
            for topic, payload in tuple(self._waiting.items()):
                if not self._client.is_connected():
                    return
                if self._client.publish(topic, payload, qos=0).rc == paho.MQTT_ERR_SUCCESS:
                    del self._waiting[topic]

    def _announce(self, availability: str) -> paho.MQTTMessageInfo:
        return self._client.publish(f"{self._base}/availability", availability, qos=1, retain=True)

    def _introduce(self) -> None:
        s = self._settings
        topic = f"{s.discovery_prefix}/device/{s.node}/config"
        self._client.publish(topic, self._discovery(), qos=1, retain=True)
        self._announce(_ONLINE)

    def _discovery(self) -> str:
        """Return the payload for all channels that are known now."""
        s = self._settings
        with self._lock:
            chips = {name: tuple(channels) for name, channels in self._chips.items()}
        return json.dumps(discovery(self._identity, s.node, self._base, chips, s.expire_after))

    def _on_connect(
        self,
        client: paho.Client,
        userdata: object,
        flags: paho.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            return
        client.subscribe(f"{self._settings.discovery_prefix}/status", qos=1)
        for topic in self._switches:
            client.subscribe(topic, qos=1)
        self._introduce()
        self._send_waiting()

    def _on_message(self, client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        """Obey a command; introduce this device again after Home Assistant has started."""
        if switch := self._switches.get(message.topic):
            # A command that the broker kept is from a time before this start: it is not obeyed.
            if not message.retain and message.payload in (ON.encode(), OFF.encode()):
                switch(message.payload == ON.encode())
        elif message.payload == _ONLINE.encode():
            self._introduce()


def _path(file: Path | None) -> str | None:
    return None if file is None else str(file)
