"""What a real Home Assistant makes of a BMP280, an Enviro pHAT and a relay.

    python3.13 -m venv venv
    venv/bin/pip install homeassistant==2025.2.5 home-assistant-frontend==20250221.0 \
        paho-mqtt==1.6.1 Pillow==11.1.0 SQLAlchemy==2.0.37 hassil==2.2.3 \
        home-assistant-intents==2025.2.5 mutagen==1.47.0 PyTurboJPEG==1.7.5 ha-ffmpeg==3.2.2 \
        av==13.1.0 numpy==2.2.2 pymicro-vad==1.0.1 pyspeex-noise==1.0.2
    HASS=venv/bin/hass .venv/bin/pytest tests/system/sensorkit/real_home_assistant.py

Not part of `make test`: its packages take minutes to install, and a Python that Debian 12 lacks.
SCREENSHOTS=docs/images writes the picture of docs/home-assistant.md.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.system.dashboard.browser import browser
from tests.system.sensorkit.conftest import Broker, free_port, until
from tests.system.sensorkit.test_home_assistant import Serve, found
from tests.system.sensorkit.test_lines import serving

BMP280 = {"sensor.bmp280_temperature": 23.45, "sensor.bmp280_pressure": 1001.23}
"""The air of the model, in Home Assistant's units; shown with one digit."""
_CONFIGURATION = "http: {{ server_host: 127.0.0.1, server_port: {port} }}\nfrontend:\nconfig:\n"
PAGE = "document.querySelector('home-assistant')"
SWITCHES = "{{ states.switch | map(attribute='entity_id') | join(' ') }}"
_FAULTS = ("homeassistant.components.mqtt", "homeassistant.components.sensor")


@dataclass
class HomeAssistant:
    """A running Home Assistant with one user, who is logged in."""

    address: str
    log: Path
    tokens: dict[str, Any]

    def post(self, path: str, **values: Any) -> Any:
        """Return the answer to a request of its REST API."""
        return _post(self.address + path, values, self.tokens["access_token"])

    def template(self, text: str) -> str:
        """Return what a template of Home Assistant gives."""
        return str(self.post("/api/template", template=text))

    def state(self, entity: str) -> str:
        """Return the state of an entity: ``unknown`` without one."""
        return self.template(f"{{{{ states('{entity}') }}}}")

    def number(self, entity: str) -> float | None:
        """Return the state of an entity as a number, or None while it is none."""
        try:
            return float(self.state(entity))
        except ValueError:
            return None

    def entities(self, device_of: str) -> list[str]:
        """Return the entities of the device that has the entity `device_of`."""
        return self.template(
            f"{{{{ device_entities(device_id('{device_of}')) | sort | join(' ') }}}}"
        ).split()

    def faults(self) -> list[str]:
        """Return the lines of its log that complain of what it read by MQTT."""
        lines = self.log.read_text().splitlines()
        return [line for line in lines if any(name in line for name in _FAULTS)]


def _post(address: str, values: dict[str, Any], token: str = "") -> Any:
    request = urllib.request.Request(
        address,
        data=json.dumps(values).encode(),
        headers={"Content-Type": "application/json"}
        | ({"Authorization": f"Bearer {token}"} if token else {}),
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        body = answer.read().decode()
    return json.loads(body) if "json" in answer.headers["Content-Type"] else body


def _tokens(address: str) -> dict[str, Any]:
    """Make the first user, as the first page does, and return the tokens of the login."""
    user = {"name": "Ada", "username": "ada", "password": "a test's own", "language": "en"}
    made = _post(f"{address}/api/onboarding/users", {"client_id": f"{address}/", **user})
    form = {"grant_type": "authorization_code", "code": made["auth_code"]}
    data = urllib.parse.urlencode(form | {"client_id": f"{address}/"}).encode()
    with urllib.request.urlopen(f"{address}/auth/token", data=data, timeout=60) as answer:
        tokens: dict[str, Any] = json.load(answer)
    for step in ("core_config", "analytics", "integration"):
        try:
            page = {"client_id": f"{address}/", "redirect_uri": f"{address}/"}
            _post(f"{address}/api/onboarding/{step}", page, tokens["access_token"])
        except urllib.error.HTTPError:
            pass  # a step also sets up integrations whose packages are not installed
    return tokens


@contextmanager
def home_assistant(hass: Path, folder: Path) -> Iterator[HomeAssistant]:
    """Start Home Assistant with its configuration in `folder`."""
    port = free_port()
    folder.mkdir()
    (folder / "configuration.yaml").write_text(_CONFIGURATION.format(port=port))
    address = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [hass, "-c", folder, "--skip-pip"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: _answers(f"{address}/api/onboarding"), 180)
        yield HomeAssistant(address, folder / "home-assistant.log", _tokens(address))
    finally:
        process.terminate()
        process.wait(60)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except OSError:
        return False


def add_mqtt(home: HomeAssistant, broker: Broker) -> None:
    """Add the integration MQTT by its form, as a person does."""
    form = home.post("/api/config/config_entries/flow", handler="mqtt")
    done = home.post(
        f"/api/config/config_entries/flow/{form['flow_id']}", broker="127.0.0.1", port=broker.port
    )
    assert done["type"] == "create_entry", done


@pytest.fixture
def home(broker: Broker, tmp_path: Path) -> Iterator[HomeAssistant]:
    """Home Assistant at the broker; it complained of nothing that it read there."""
    with home_assistant(Path(os.environ["HASS"]).absolute(), tmp_path / "home") as home:
        add_mqtt(home, broker)
        yield home
        assert home.faults() == []


def at(broker: Broker) -> dict[str, str]:
    """Return the variables of a service at the broker."""
    return {"MQTT_HOST": "127.0.0.1", "MQTT_PORT": str(broker.port), "MQTT_NODE": "shed"}


def test_a_bmp280_appears_by_itself_with_its_values_and_is_unavailable_when_it_is_gone(
    home: HomeAssistant, broker: Broker, serve: Serve, tmp_path: Path
) -> None:
    service = serve("bmp280", **at(broker))
    for entity, value in BMP280.items():
        number = until(lambda entity=entity: home.number(entity), 60)
        assert abs(number - value) < 0.1
    assert home.entities("sensor.bmp280_temperature") == sorted(BMP280)
    device = home.template(
        "{{ device_attr(device_id('sensor.bmp280_pressure'), 'model') }} "
        "{{ state_attr('sensor.bmp280_pressure', 'unit_of_measurement') }} "
        "{{ state_attr('sensor.bmp280_pressure', 'device_class') }} "
        "{{ state_attr('sensor.bmp280_temperature', 'state_class') }}"
    )
    assert device == "BMP280 hPa atmospheric_pressure measurement"
    picture(home, Path(os.environ.get("SCREENSHOTS", str(tmp_path))), tmp_path)
    service.process.kill()
    until(lambda: home.state("sensor.bmp280_temperature") == "unavailable", 60)


def test_each_channel_of_an_envirophat_is_an_entity_with_a_value(
    home: HomeAssistant, broker: Broker, serve: Serve
) -> None:
    serve("envirophat", **at(broker))
    (_, message) = found(broker)
    entities = until(lambda: has_all(home, message["cmps"]), 60)
    for name in entities:
        until(lambda name=name: home.state(name) not in ("unknown", "unavailable"), 60)


def has_all(home: HomeAssistant, components: dict[str, Any]) -> list[str]:
    """Return the entities that came by MQTT once there is one for each component."""
    names = home.template("{{ integration_entities('mqtt') | join(' ') }}").split()
    return names if len(names) == len(components) else []


def test_a_switch_moves_the_relay(home: HomeAssistant, broker: Broker, tmp_path: Path) -> None:
    (tmp_path / "pi").mkdir()
    with serving(tmp_path / "pi", broker) as (bench, listener):
        until(lambda: listener.value("output_active_pump") == 0)
        (switch,) = until(lambda: home.template(SWITCHES).split(), 60)
        until(lambda: home.state(switch) == "off", 60)
        for service, state, level in (("turn_on", "on", True), ("turn_off", "off", False)):
            home.post(f"/api/services/switch/{service}", entity_id=switch)
            until(lambda level=level: bench.wires["pump"].active is level, 60)
            until(lambda state=state: home.state(switch) == state, 60)


def picture(home: HomeAssistant, folder: Path, profile: Path) -> None:
    """Draw the page of the BMP280's device."""
    device = home.template("{{ device_id('sensor.bmp280_temperature') }}")
    login = home.tokens | {
        "hassUrl": home.address,
        "clientId": f"{home.address}/",
        "expires": (time.time() + 1800) * 1000,
    }
    with browser(profile) as page:
        page.call("Page.navigate", url=f"{home.address}/manifest.json")
        page.until("document.readyState === 'complete'")
        page.run(f"localStorage.setItem('hassTokens', {json.dumps(json.dumps(login))})")
        page.call(
            "Emulation.setDeviceMetricsOverride",
            width=1100, height=640, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        page.call("Page.navigate", url=f"{home.address}/config/devices/device/{device}")
        page.until(f"{PAGE}?.shadowRoot?.querySelector('home-assistant-main') != null")
        time.sleep(25)  # the page of a device says nowhere that it is drawn
        page.picture(folder / "home-assistant-bmp280.png")
