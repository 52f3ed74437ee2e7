"""A real broker and a subscriber shaped like Home Assistant."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.system.sensorkit.conftest import Broker, Process, free_port, until

Serve = Callable[..., Process]


class HomeAssistant:
    """Learns devices from discovery, follows their topics, applies availability."""

    def __init__(self, port: int, **tls: Any) -> None:
        self.retained: set[str] = set()
        self.config: dict[str, Any] = {}
        self.topics: dict[str, list[Any]] = {}
        self.client = paho.Client(CallbackAPIVersion.VERSION2)
        if tls:
            self.client.tls_set(**tls)
        self.client.on_message = self._take
        self.client.on_connect = lambda client, *_: client.subscribe("homeassistant/device/#", 1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def _take(self, client: paho.Client, _: Any, message: paho.MQTTMessage) -> None:
        if message.topic.endswith("/config"):
            self.config = json.loads(message.payload)
            for component in self.config["cmps"].values():
                client.subscribe(component["state_topic"], 1)
            client.subscribe(self.config["availability_topic"], 1)
            if message.retain:
                self.retained.add("config")
            return
        self.topics.setdefault(message.topic, []).append(message.payload.decode())

    def value(self, key: str) -> float | None:
        """The newest state of a component, by its template's one form."""
        component = self.config.get("cmps", {}).get(key)
        states = self.topics.get(component["state_topic"]) if component else None
        return json.loads(states[-1])[key] if states else None

    def availability(self) -> str | None:
        states = self.topics.get(self.config.get("availability_topic", ""))
        return states[-1] if states else None

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def home_assistant(broker: Broker) -> Iterator[HomeAssistant]:
    made = HomeAssistant(broker.port)
    yield made
    made.stop()


def variables(broker: Broker, **more: str) -> dict[str, str]:
    return {"MQTT_HOST": "127.0.0.1", "MQTT_PORT": str(broker.port), "MQTT_NODE": "shed", **more}


def test_discovery_state_and_availability(
    broker: Broker, home_assistant: HomeAssistant, serve: Serve
) -> None:
    serve("bmp280", **variables(broker))
    until(lambda: home_assistant.value("temperature"))
    assert home_assistant.value("temperature") == pytest.approx(23.45, abs=0.02)
    assert home_assistant.value("pressure") == pytest.approx(1001.23, abs=0.05)
    until(lambda: home_assistant.availability() == "online")
    assert home_assistant.config["cmps"]["temperature"]["device_class"] == "temperature"
    late = HomeAssistant(broker.port)
    until(lambda: "config" in late.retained)
    late.stop()


def test_a_clean_end_says_offline(
    broker: Broker, home_assistant: HomeAssistant, serve: Serve
) -> None:
    service = serve("bmp280", **variables(broker))
    until(lambda: home_assistant.availability() == "online")
    service.process.terminate()
    until(lambda: home_assistant.availability() == "offline")
    assert service.process.wait(10) == 0


def test_the_last_will_speaks_for_a_service_that_died(
    broker: Broker, home_assistant: HomeAssistant, serve: Serve
) -> None:
    service = serve("bmp280", **variables(broker))
    until(lambda: home_assistant.availability() == "online")
    service.process.kill()
    until(lambda: home_assistant.availability() == "offline")


def test_home_assistant_restarting_is_told_again(
    broker: Broker, home_assistant: HomeAssistant, serve: Serve
) -> None:
    serve("bmp280", **variables(broker))
    until(lambda: home_assistant.config)
    home_assistant.config = {}
    home_assistant.client.publish("homeassistant/status", "online", qos=1)
    until(lambda: home_assistant.config)


def test_after_an_outage_no_sample_of_the_outage_is_sent(broker: Broker, serve: Serve) -> None:
    service = serve("bmp280", **variables(broker, BMP280_INTERVAL="100ms"))
    broker.stop()
    # Without a broker the service goes on measuring, and the page stays well.
    until(lambda: service.json("/api/current")["sensors"]["bmp280"]["samples"] > 50)
    assert service.get("/healthz")[0] == 200
    restarted = time.time()
    broker.start()
    subscriber = HomeAssistant(broker.port)
    topic = "sensorkit/shed/bmp280"
    until(lambda: len(subscriber.topics.get(topic, [])) > 12, 90)
    subscriber.stop()
    times = [json.loads(payload)["time"] for payload in subscriber.topics[topic]]
    assert times == sorted(times)
    assert times[0] > restarted - 1  # the newest sample, not one of the five seconds before


def test_tls_with_an_authority_of_ones_own(tmp_path: Path, serve: Serve) -> None:
    _make_certificates(tmp_path)
    lines = (
        "allow_anonymous false",
        f"password_file {tmp_path / 'passwords'}",
        f"cafile {tmp_path / 'ca.pem'}",
        f"certfile {tmp_path / 'server.pem'}",
        f"keyfile {tmp_path / 'server.key'}",
    )
    (tmp_path / "passwords").touch(mode=0o600)
    _run("mosquitto_passwd", "-b", str(tmp_path / "passwords"), "pi", "secret")
    secret = tmp_path / "secret"
    secret.write_text("secret\n")
    broker = Broker(tmp_path, free_port(), lines)
    broker.start()
    try:
        home_assistant = HomeAssistant.__new__(HomeAssistant)
        home_assistant.retained, home_assistant.config, home_assistant.topics = set(), {}, {}
        client = paho.Client(CallbackAPIVersion.VERSION2)
        home_assistant.client = client
        client.tls_set(str(tmp_path / "ca.pem"))
        client.username_pw_set("pi", "secret")
        client.on_message = home_assistant._take
        client.on_connect = lambda c, *_: c.subscribe("homeassistant/device/#", 1)
        client.connect("localhost", broker.port)
        client.loop_start()
        more = {
            "MQTT_HOST": "localhost",
            "MQTT_TLS": "yes",
            "MQTT_CA_FILE": str(tmp_path / "ca.pem"),
            "MQTT_USERNAME": "pi",
            "MQTT_PASSWORD_FILE": str(secret),
        }
        serve("bmp280", **variables(broker) | more)
        until(lambda: home_assistant.value("temperature"))
        home_assistant.stop()
    finally:
        broker.stop()


def _run(*arguments: str) -> None:
    subprocess.run(arguments, check=True, capture_output=True)


def _make_certificates(folder: Path) -> None:
    ca, key = str(folder / "ca.pem"), str(folder / "ca.key")
    new = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2")
    _run(*new, "-subj", "/CN=test authority", "-keyout", key, "-out", ca)
    server = ("-keyout", str(folder / "server.key"), "-out", str(folder / "server.pem"))
    name = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    _run(*new, *name, "-addext", "basicConstraints=critical,CA:FALSE", "-CA", ca, "-CAkey", key,
         *server)  # fmt: skip
