"""A relay by MQTT: a real broker, a subscriber like Home Assistant, and the Pi's lines."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sensors
from piimage_lines.settings import Line
from sensorkit.clock import SystemClock
from sensorkit.options import load
from sensorkit.service import serve

from tests.system.sensorkit.conftest import Broker, free_port, until
from tests.system.sensorkit.test_mqtt import HomeAssistant
from tests.unit.gpio.bench import Bench

COMMANDS = "sensorkit/shed/pump/set"


@contextmanager
def serving(tmp_path: Path, broker: Broker) -> Iterator[tuple[Bench, HomeAssistant]]:
    """The lines, with the service `sensors` on them."""
    made = Bench(tmp_path, Line("pump", "output", "chip", 22))
    made.start()
    until(lambda: made.wires)
    file, stop = tmp_path / "sensors.json", threading.Event()
    entry = {"name": "pump", "kind": "output", "line": 22, "every": 1}
    file.write_text(json.dumps({"sensors": [], "lines": [entry]}))
    service = sensors.service(tmp_path / "sys", made.socket)
    variables = {
        "SENSORS_FILE": str(file), "SENSORS_HTTP_LISTEN": f"127.0.0.1:{free_port()}",
        "MQTT_HOST": "127.0.0.1", "MQTT_PORT": str(broker.port), "MQTT_NODE": "shed",
    }  # fmt: skip
    values = load(service.all_options(), variables, prefix=service.prefix)
    thread = threading.Thread(target=serve, args=(service, values, SystemClock(), stop))
    thread.start()
    home_assistant = HomeAssistant(broker.port)
    yield made, home_assistant
    home_assistant.stop()
    stop.set()
    thread.join(30)
    made.stop()


def test_a_switch_of_home_assistant_moves_the_relay(broker: Broker, tmp_path: Path) -> None:
    with serving(tmp_path, broker) as (bench, home_assistant):
        until(lambda: home_assistant.value("output_active_pump") == 0)
        component = home_assistant.config["cmps"]["output_active_pump"]
        assert (component["p"], component["command_topic"]) == ("switch", COMMANDS)
        for payload, value in (("ON", 1), ("OFF", 0)):
            home_assistant.client.publish(component["command_topic"], payload, 1)
            until(lambda wanted=value: home_assistant.value("output_active_pump") == wanted)
        home_assistant.client.publish(COMMANDS, "perhaps", 1)
        home_assistant.client.publish(COMMANDS, "ON", 1)
        until(lambda: bench.wires["pump"].active)
        assert bench.wires["pump"].history == [True, False, True]


def test_a_command_that_the_broker_kept_is_not_obeyed(broker: Broker, tmp_path: Path) -> None:
    """It is from before the start: a pump would run because somebody started it last week."""
    before = HomeAssistant(broker.port)
    before.client.publish(COMMANDS, "ON", 1, retain=True).wait_for_publish(20)
    before.stop()
    with serving(tmp_path, broker) as (bench, after):
        until(lambda: after.value("output_active_pump") == 0)
        after.client.publish(COMMANDS, "OFF", 1).wait_for_publish(20)
        until(lambda: bench.wires["pump"].history)
        assert bench.wires["pump"].history == [False]
