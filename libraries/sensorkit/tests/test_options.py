"""Options from file and environment: precedence, and all errors at once with their places."""

# ruff: noqa: E501 -- one mistake and its message are a line of a table

from __future__ import annotations

import io
from pathlib import Path

import bmp280
import envirophat
import pytest
from chipmodels.ads1015 import Ads1115Model
from chipmodels.bosch import BoschModel, Variant
from chipmodels.clock import VirtualClock
from hypothesis import given
from hypothesis import strategies as st
from sensor_rig import Rig
from sensorkit.bus.registers import SmbusRegisters
from sensorkit.chips import Buses
from sensorkit.cli import describe_options, run
from sensorkit.drivers.bosch import Mode
from sensorkit.errors import ConfigErrors
from sensorkit.options import Values, load, seconds
from sensorkit.service import Service, _password

BMP280 = bmp280.service(Buses())


def loaded(
    environment: dict[str, str], text: str | None = None, service: Service = BMP280
) -> Values:
    return load(
        service.all_options(),
        environment,
        prefix=service.prefix,
        file=None if text is None else ("s.yml", text),
        problems=service.all_problems,
    )


def value(values: Values, key: str) -> object:
    return values[next(o for o in BMP280.all_options() if o.key == key)]


def test_defaults() -> None:
    values = loaded({})
    assert value(values, "address") == 0x77
    assert value(values, "mode") is Mode.NORMAL
    assert value(values, "transfer") is SmbusRegisters


def test_the_environment_wins_over_the_file() -> None:
    values = loaded({"BMP280_ADDRESS": "0x76"}, "address: 0x77\ninterval: 10s\n")
    assert value(values, "address") == 0x76
    assert value(values, "interval") == 10


def test_an_empty_variable_is_not_set() -> None:
    assert value(loaded({"MQTT_HOST": ""}, "mqtt: {host: broker}\n"), "mqtt.host") == "broker"


@pytest.mark.parametrize(
    ("environment", "text", "message"),
    [
        ({"BMP280_ADRESS": "1"}, "", "BMP280_ADRESS: no such variable; did you mean BMP280_ADDRESS?"),
        ({"MQTT_BROKER": "b"}, "", "MQTT_BROKER: no such variable; did you mean MQTT_HOST?"),
        ({"MQTT_SERVER": "b"}, "", "MQTT_SERVER: no such variable; did you mean MQTT_HOST?"),
        ({"MQTT_USER": "b"}, "", "MQTT_USER: no such variable; did you mean MQTT_USERNAME?"),
        ({"MQTT_TOPIC": "b"}, "", "MQTT_TOPIC: no such variable; did you mean MQTT_PREFIX?"),
        ({"BMP280_SENSOR": "b"}, "", "BMP280_SENSOR: no such variable; did you mean BMP280_CHIP?"),
        ({"BMP280_QNH": "1"}, "", "BMP280_QNH: no such variable; did you mean BMP280_SEA_LEVEL_PRESSURE?"),
        ({}, "mqtt: {broker: b}\n", "s.yml:1:16: no such option 'mqtt.broker'; did you mean mqtt.host?"),
        ({}, "elevation: 100\n", "s.yml:1:12: no such option 'elevation'; did you mean altitude?"),
        ({"BMP280_ADDRESS": "0x40"}, "", "BMP280_ADDRESS: '0x40' is not an address of this chip: 0x76 or 0x77"),
        ({"BMP280_INTERVAL": "1 day"}, "", "BMP280_INTERVAL: '1 day' is not a time from 0.1 s to 86400 s, such as 10s or 500ms"),
        ({"BMP280_INTERVAL": "nan"}, "", "BMP280_INTERVAL: 'nan' is not a time from 0.1 s to 86400 s, such as 10s or 500ms"),
        ({}, "filter: 3\n", "s.yml:1:9: '3' is not one of 0, 2, 4, 8, 16"),
        ({}, "mqtt:\n  hots: x\n", "s.yml:2:9: no such option 'mqtt.hots'; did you mean mqtt.host?"),
        ({}, "address: 0x76\naddress: 0x77\n", "s.yml:2:10: 'address' is already set at s.yml:1:10"),
        ({}, "a: [\n", "s.yml:2:1: this is not YAML: expected the node content, but found '<stream end>'"),
        ({}, "just text\n", "s.yml:1:1: no such option ''"),
        ({}, "altitude: 100\nsea_level_pressure: 101325\n", "s.yml:1:11: set the altitude or the pressure at sea level, not both (s.yml:2:21)"),
        ({"BMP280_OVERSAMPLING_PRESSURE": "0"}, "altitude: 1", "BMP280_OVERSAMPLING_PRESSURE: pressure is off, but altitude or sea-level pressure needs it"),
        ({"MQTT_PORT": "70000"}, "", "MQTT_PORT: '70000' is not a whole number from 1 to 65535"),
        ({"MQTT_TLS": "maybe"}, "", "MQTT_TLS: 'maybe' is neither yes nor no"),
        ({"MQTT_PASSWORD_FILE": "/nowhere"}, "", "MQTT_PASSWORD_FILE: '/nowhere' cannot be read: No such file or directory"),
        ({"MQTT_NODE": "a/b"}, "", "MQTT_NODE: 'a/b' may contain only letters, digits, _ and -"),
        ({"MQTT_PREFIX": "a/#"}, "", "MQTT_PREFIX: 'a/#' is not a topic: it must not contain #, + or blanks"),
        ({"BMP280_HTTP_LISTEN": "9280"}, "", "BMP280_HTTP_LISTEN: '9280' is not host:port, such as 0.0.0.0:9280"),
        ({"BMP280_LINES": "xml"}, "", "BMP280_LINES: 'xml' is not one of none, json, influx"),
        ({"BMP280_SPI_MODE": "1"}, "", "BMP280_SPI_MODE: '1' is not one of 0, 3"),
    ],
)  # fmt: skip
def test_one_mistake_one_message(environment: dict[str, str], text: str, message: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        loaded(environment, text)
    assert caught.value.errors == (message,)


@pytest.mark.parametrize("service", [BMP280, envirophat.service(Buses())])
def test_no_other_word_for_an_option_is_an_option_or_stands_for_two(service: Service) -> None:
    options = service.all_options()
    others = [key for o in options for key in (*o.other_keys(), *o.other_variables())]
    assert len(set(others)) == len(others)
    assert not set(others) & {name for o in options for name in (o.key, o.variable)}


def test_the_other_chip_is_answered_with_the_options_names() -> None:
    rig = Rig()
    rig.chips |= {
        0x77: BoschModel(rig.clock, variant=Variant.BME280),
        0x49: Ads1115Model(rig.clock),
    }
    rig.clock.sleep(1)
    buses = Buses(lines={"i2c1": rig.line})
    service = envirophat.service(buses)
    values = loaded({"ENVIROPHAT_SENSORS": "bmp280,ads1015"}, service=service)
    reasons = []
    for plan in service.plans(values, rig.clock):
        plan.chip.poll()
        reasons.append(plan.chip.health().reason.rpartition(": ")[2])
    assert reasons == [
        "set bmp280.chip (ENVIROPHAT_BMP280_CHIP) to bme280",
        "set ads1015.chip (ENVIROPHAT_ADS1015_CHIP) to ads1115",
    ]


def test_the_password_is_given_or_in_a_file_or_a_secret(tmp_path: Path) -> None:
    file, secret = tmp_path / "file", tmp_path / "secret"
    file.write_text("of the file\n")
    assert _password(None, None, secret) is None
    secret.write_text("of the secret\n")
    assert _password(None, None, secret) == "of the secret"
    assert _password(None, file, secret) == "of the file"
    assert _password("given", None, secret) == "given"


def test_all_mistakes_at_once() -> None:
    with pytest.raises(ConfigErrors) as caught:
        loaded(
            {"BMP280_ADDRESS": "9", "MQTT_PASSWORD": "a", "MQTT_CERT_FILE": __file__},
            "filtre: 2\ninterval: never\n",
        )
    assert len(caught.value.errors) == 5


def test_a_list_in_yaml_is_commas_in_a_variable() -> None:
    service = envirophat.service(Buses())
    option = next(o for o in service.options if o.key == "lsm303d.field_offset_ut")
    by_file = loaded({}, "lsm303d: {field_offset_ut: [1, -2.5, 3]}\n", service)
    by_variable = loaded({"ENVIROPHAT_LSM303D_FIELD_OFFSET_UT": "1,-2.5,3"}, None, service)
    assert by_file[option] == by_variable[option] == (1.0, -2.5, 3.0)


@pytest.mark.parametrize(
    ("text", "expected"), [("10", 10), ("1.5s", 1.5), ("500ms", 0.5), ("5min", 300), ("2h", 7200)]
)
def test_times(text: str, expected: float) -> None:
    assert seconds(0.1, 10_000)(text) == pytest.approx(expected)


@given(text=st.text(max_size=200))
def test_any_file_is_loaded_or_refused(text: str) -> None:
    try:
        loaded({}, text)
    except ConfigErrors as error:
        assert error.errors


@pytest.mark.parametrize("service", [BMP280, envirophat.service(Buses())])
def test_keys_and_variables_are_unique(service: Service) -> None:
    options = service.all_options()
    assert len({o.key for o in options}) == len({o.variable for o in options}) == len(options)
    assert len(describe_options(service).splitlines()) == len(options)


def test_the_command_line_names_every_error_and_exits_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "s.yml"
    config.write_text("filter: 3\n")
    status = run(
        BMP280,
        ["--config", str(config), "read"],
        {"BMP280_MODE": "x"},
        io.StringIO(),
        VirtualClock(),
    )
    assert status == 2
    assert sorted(capsys.readouterr().err.splitlines()) == [
        f"{config}:1:9: '3' is not one of 0, 2, 4, 8, 16",
        "BMP280_MODE: 'x' is not one of forced, normal",
    ]
