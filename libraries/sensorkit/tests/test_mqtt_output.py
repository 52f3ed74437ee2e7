"""The sample that waits for a broker that is away, and how it is sent."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

import pytest
from paho.mqtt.client import MQTT_ERR_NO_CONN, MQTT_ERR_SUCCESS, MQTTMessageInfo
from sensorkit.measurement import HUMIDITY, TEMPERATURE, Channel, Measurement, Sample
from sensorkit.outputs.mqtt import MqttOutput, MqttSettings
from sensorkit.station import ChipState, Identity
from sensorkit.supervise import Health

CHANNEL = Channel(TEMPERATURE, "Temperature")
HEALTHY = Health(True, "", 0.1, 1_700_000_000.0, 1, 1, {})


@dataclass
class FakeClient:
    """A fake of paho's client: connected or not, and it notes what it would send."""

    connected: bool = False
    sent: list[tuple[str, dict[str, float], int]] = field(default_factory=list)
    retained: dict[str, str] = field(default_factory=dict)

    def is_connected(self) -> bool:
        return self.connected

    def publish(
        self, topic: str, payload: str, qos: int, *, retain: bool = False
    ) -> MQTTMessageInfo:
        info = MQTTMessageInfo(0)
        info.rc = MQTT_ERR_SUCCESS if self.connected else MQTT_ERR_NO_CONN
        if retain:
            self.retained[topic] = payload
        elif self.connected:
            self.sent.append((topic, json.loads(payload), qos))
        return info


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
def output(client: FakeClient) -> MqttOutput:
    settings = MqttSettings("broker.local", "shed")
    mqtt = MqttOutput(settings, Identity("greenhouse", "Greenhouse", "1"), {"a": (CHANNEL,)})
    mqtt._client = client  # type: ignore[assignment]
    return mqtt


def reading(time: float, chip: str = "a") -> ChipState:
    return ChipState(chip, "X", Sample([Measurement(CHANNEL, 20.0, time)]), HEALTHY)


def test_after_an_outage_the_newest_sample_of_each_chip_is_sent_once(
    client: FakeClient, output: MqttOutput
) -> None:
    for time in (1.0, 2.0, 3.0):
        output.publish(reading(time))
    output.publish(reading(2.5, "b"))
    assert client.sent == []
    client.connected = True
    output.publish(reading(4.0))
    assert client.sent == [
        ("sensorkit/shed/a", {"time": 4.0, "temperature": 20.0}, 0),
        ("sensorkit/shed/b", {"time": 2.5, "temperature": 20.0}, 0),
    ]


def test_a_failed_reading_keeps_the_sample_as_long_as_it_is_valid(
    client: FakeClient, output: MqttOutput
) -> None:
    output.publish(reading(1.0))
    output.publish(replace(reading(2.0), sample=Sample()))
    client.connected = True
    output.publish(replace(reading(3.0), sample=Sample()))
    assert [payload["time"] for _, payload, _ in client.sent] == [1.0]


def test_a_sample_that_is_no_longer_valid_is_not_sent(
    client: FakeClient, output: MqttOutput
) -> None:
    output.publish(reading(1.0))
    unhealthy = replace(HEALTHY, healthy=False, reason="no chip answers")
    output.publish(ChipState("a", "X", Sample(), unhealthy))
    client.connected = True
    output.publish(ChipState("a", "X", Sample(), unhealthy))
    assert client.sent == []


def test_a_channel_that_comes_later_is_introduced_once(
    client: FakeClient, output: MqttOutput
) -> None:
    client.connected = True
    output.publish(reading(1.0))
    assert client.retained == {}  # Home Assistant knows it already
    later = Channel(HUMIDITY, "Humidity")
    output.publish(ChipState("new", "X", Sample([Measurement(later, 0.5, 2.0)]), HEALTHY))
    config = "homeassistant/device/shed/config"
    assert set(json.loads(client.retained[config])["cmps"]) == {"temperature", "humidity"}
    client.retained.clear()
    output.publish(ChipState("new", "X", Sample([Measurement(later, 0.6, 3.0)]), HEALTHY))
    assert client.retained == {}


def test_a_channel_that_came_during_an_outage_is_introduced_after_it(
    client: FakeClient, output: MqttOutput
) -> None:
    output.publish(ChipState("new", "X", reading(1.0).sample, HEALTHY))
    assert client.retained == {}
    output._introduce()
    assert "homeassistant/device/shed/config" in client.retained
