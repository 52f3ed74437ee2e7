"""The commands of docs/home-assistant.md at a real broker, and what Home Assistant finds there."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests import guides, home_assistant
from tests.system.sensorkit.conftest import ROOT, Broker, Process

Serve = Callable[..., Process]
COMMANDS = [
    line.text
    for line in guides.read(ROOT / "docs/home-assistant.md")
    if line.text.startswith("mosquitto_")
]


def at(broker: Broker, command: str) -> list[str]:
    """Run a command of the page at the test's broker; return the lines that it prints."""
    words = shlex.split(command.replace("-h broker.local", f"-h 127.0.0.1 -p {broker.port}"))
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.splitlines()


def found(broker: Broker) -> tuple[str, Any]:
    """The first message of discovery that the broker keeps."""
    (listen, *_) = COMMANDS
    (line,) = at(broker, listen)
    topic, _, payload = line.partition(" ")
    return topic, json.loads(payload)


@pytest.mark.parametrize("service", ["bmp280", "envirophat"])
def test_home_assistant_takes_what_a_service_says_of_itself(
    service: str, broker: Broker, serve: Serve
) -> None:
    serve(service, MQTT_HOST="127.0.0.1", MQTT_PORT=str(broker.port))
    topic, message = found(broker)
    assert [*home_assistant.faults(topic, message)] == []


def test_the_commands_of_the_page_show_values_and_remove_a_device(
    broker: Broker, serve: Serve
) -> None:
    _, values, remove = COMMANDS
    service = serve("bmp280", MQTT_HOST="127.0.0.1", MQTT_PORT=str(broker.port))
    topic, message = found(broker)
    (line,) = at(broker, values)
    state = json.loads(line.partition(" ")[2])
    templates = [component["value_template"] for component in message["cmps"].values()]
    names = [name for name in state if any(f"value_json.{name} " in text for text in templates)]
    assert len(names) == len(templates) == 2
    service.process.terminate()
    service.process.wait(10)
    at(broker, remove.replace("homeassistant/device/bmp280_greenhouse/config", topic))
    with pytest.raises(subprocess.CalledProcessError):  # it waits in vain
        at(broker, f"{COMMANDS[0]} -W 1")
