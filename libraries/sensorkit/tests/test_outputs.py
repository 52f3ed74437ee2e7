"""Outputs follow the conventions of each ecosystem and never show an old value."""

from __future__ import annotations

import http.client
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from chipmodels.bosch import Air, BoschModel
from prometheus_client.parser import text_string_to_metric_families
from sensor_rig import Rig
from sensorkit import measurement
from sensorkit.corrections import (
    Altitude,
    CpuHeat,
    CpuThermometer,
    Offset,
    SeaLevelPressure,
)
from sensorkit.drivers.bosch import PRESSURE_CHANNEL, TEMPERATURE_CHANNEL, Bosch280
from sensorkit.errors import InvalidReading
from sensorkit.measurement import ACCELERATION, HUMIDITY, Channel, Measurement, Sample
from sensorkit.outputs.documents import Documents
from sensorkit.outputs.history import History
from sensorkit.outputs.home_assistant import discovery, state
from sensorkit.outputs.lines import LineOutput, influx_line, json_line
from sensorkit.outputs.prometheus import Exposition
from sensorkit.outputs.server import WebServer, answering
from sensorkit.outputs.web import routes
from sensorkit.station import ChipState, Identity, Plan, Station
from sensorkit.supervise import Supervised

IDENTITY = Identity("bmp280", "BMP280", "0.1.0")
SAMPLE = Sample(
    (
        Measurement(TEMPERATURE_CHANNEL, 25.0824, 1_700_000_000.25),
        Measurement(PRESSURE_CHANNEL, 100653.2539, 1_700_000_000.25),
    )
)


class Bench:
    """A station with one BMP280 in planted air."""

    def __init__(self) -> None:
        self.rig = Rig()
        self.air = Air(21.5, 98_765.0)
        self.rig.chips[0x77] = BoschModel(self.rig.clock, source=self.air)
        self.rig.clock.sleep(1)
        driver = Bosch280(self.rig.smbus(0x77), self.rig.clock)
        chip = Supervised("bmp280", driver, self.rig.clock, max_age=5)
        self.history = History(driver.channels, seconds=3600, slots=60)
        self.station = Station([Plan(chip, 1.0, driver.channels)], [self.history], self.rig.clock)
        self.documents = Documents(IDENTITY, self.station, self.history, self.rig.clock)
        self.exposition = Exposition(IDENTITY, self.station.states)

    def run(self, seconds: float) -> None:
        end = self.rig.clock.monotonic() + seconds
        while self.rig.clock.monotonic() < end:
            self.rig.clock.sleep(self.station.step())

    def metrics(self) -> dict[str, float]:
        text = self.exposition.text().decode()
        return {
            sample.name: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


class TestLines:
    def test_json(self) -> None:
        assert json.loads(json_line("bmp280", "bmp280", SAMPLE)) == {
            "time": 1_700_000_000.25,
            "service": "bmp280",
            "sensor": "bmp280",
            "temperature_celsius": 25.08,
            "pressure_pascals": 100653.25,
        }

    def test_influx(self) -> None:
        line = influx_line("my pi", "b=1", SAMPLE)
        fields = "temperature_celsius=25.08,pressure_pascals=100653.25"
        assert line == f"my\\ pi,sensor=b\\=1 {fields} 1700000000250000000"

    def test_a_reader_that_went_away_does_not_end_the_service(self) -> None:
        class Closed(io.StringIO):
            def write(self, text: str) -> int:
                raise BrokenPipeError

        bench = Bench()
        bench.run(2)
        output = LineOutput("bmp280", Closed(), json_line)
        output.publish(bench.station.states()["bmp280"])
        output.publish(bench.station.states()["bmp280"])


class TestPrometheus:
    def test_names_and_values(self) -> None:
        bench = Bench()
        bench.run(3)
        metrics = bench.metrics()
        assert metrics["bmp280_temperature_celsius"] == 21.5
        assert metrics["bmp280_pressure_pascals"] == pytest.approx(98_765, abs=1)
        assert metrics["bmp280_samples_total"] == 3
        assert metrics["bmp280_sensor_healthy"] == 1
        assert metrics["bmp280_info"] == 1
        assert "bmp280_last_success_timestamp_seconds" in metrics

    def test_an_old_value_is_left_out_and_errors_are_counted(self) -> None:
        bench = Bench()
        bench.run(3)
        del bench.rig.chips[0x77]
        bench.run(10)
        metrics = bench.metrics()
        assert "bmp280_temperature_celsius" not in metrics
        assert metrics["bmp280_sensor_healthy"] == 0
        assert metrics["bmp280_read_errors_total"] >= 3

    def test_siblings_are_labels_of_one_metric(self) -> None:
        channels = [Channel(ACCELERATION, axis, (("axis", axis),)) for axis in "xyz"]
        bench = Bench()
        bench.run(1)
        sample = Sample(Measurement(c, 1.0, 0.0) for c in channels)
        health = bench.station.states()["bmp280"].health
        states = {"lsm303d": ChipState("lsm303d", "LSM303D", sample, health)}
        text = Exposition(Identity("e", "E", "1"), lambda: states).text().decode()
        assert text.count("# TYPE e_acceleration_meters_per_second_squared gauge") == 1
        assert 'e_acceleration_meters_per_second_squared{axis="z"} 1.0' in text


class TestHistory:
    def test_slots_are_means_and_gaps_stay_gaps(self) -> None:
        history = History((TEMPERATURE_CHANNEL,), seconds=100, slots=10)
        bench = Bench()
        bench.run(1)
        health = bench.station.states()["bmp280"].health
        for time, value in [(5, 10.0), (8, 20.0), (35, 30.0)]:
            sample = Sample([Measurement(TEMPERATURE_CHANNEL, value, time)])
            history.publish(ChipState("t", "T", sample, health))
        assert history.points(TEMPERATURE_CHANNEL, 40) == [(0.0, 15.0), (30.0, 30.0)]
        assert history.points(TEMPERATURE_CHANNEL, 105) == [(30.0, 30.0)]

    @pytest.mark.slow
    def test_memory_is_bounded_over_days(self) -> None:
        bench = Bench()
        bench.run(3 * 3600)
        points = bench.history.points(TEMPERATURE_CHANNEL, bench.rig.clock.time())
        assert 59 <= len(points) <= 60


class TestHomeAssistant:
    def test_discovery_names_what_home_assistant_wants(self) -> None:
        channels = {"bmp280": (TEMPERATURE_CHANNEL, PRESSURE_CHANNEL)}
        payload = discovery(IDENTITY, "n", "sensorkit/n", channels, 60)
        assert payload["availability_topic"] == "sensorkit/n/availability"
        pressure = payload["cmps"]["pressure"]
        assert pressure["p"] == "sensor"
        assert pressure["device_class"] == "atmospheric_pressure"
        assert pressure["unit_of_measurement"] == "hPa"
        assert pressure["state_class"] == "measurement"
        assert pressure["unique_id"] == "n_pressure"
        assert pressure["expire_after"] == 60

    def test_states_are_in_those_units(self) -> None:
        assert state(SAMPLE) == {
            "time": 1_700_000_000.25, "temperature": 25.08, "pressure": 1006.53
        }  # fmt: skip


class TestCorrections:
    def test_offset(self) -> None:
        corrected = Offset("temperature", -1.5)(SAMPLE)
        assert [m.value for m in corrected] == pytest.approx([23.5824, 100653.2539])

    def test_cpu_heat(self) -> None:
        corrected = CpuHeat(2.0, lambda: 55.0)(SAMPLE)
        assert corrected[0].value == pytest.approx(25.0824 - (55 - 25.0824) / 2)

    def test_no_cpu_thermometer_changes_nothing(self, tmp_path) -> None:  # type: ignore[no-untyped-def]
        assert CpuHeat(2.0, CpuThermometer(tmp_path / "none"))(SAMPLE) == SAMPLE
        (tmp_path / "temp").write_text("48312\n")  # thousandths of a degree
        assert CpuThermometer(tmp_path / "temp")() == 48.312
        (tmp_path / "temp").write_text("hot\n")
        assert CpuThermometer(tmp_path / "temp")() is None

    def test_sea_level_and_altitude_are_inverse(self) -> None:
        at_sea = SeaLevelPressure(540.0)(Sample([SAMPLE[1]]))[-1]
        assert at_sea.channel.key == "sea_level_pressure"
        assert at_sea.value == pytest.approx(107_334, abs=40)
        back = Altitude(at_sea.value)(Sample([SAMPLE[1]]))[-1]
        assert back.value == pytest.approx(540.0, abs=0.01)

    def test_a_wrong_altitude_gives_no_pressure_at_sea_level_and_loses_nothing_else(self) -> None:
        corrected = SeaLevelPressure(8000.0)(SAMPLE)
        assert corrected == SAMPLE
        assert corrected.refused == (
            "sea_level_pressure 286437 Pa is not between 80000 and 115000",
        )

    def test_what_is_made_of_a_value_may_be_beyond_the_chips_limits(self) -> None:
        """A BMP280 measures to 85 °C and from 300 hPa on; the offsets are the user's."""
        hot = Sample([replace(SAMPLE[0], value=84.9), replace(SAMPLE[1], value=30_010.0)])
        assert Offset("temperature", 2.0)(hot)[0].value == pytest.approx(86.9)
        assert Offset("pressure", -100.0)(hot)[1].value == pytest.approx(29_910.0)
        # 44330 * (1 - (30010 / 101325) ^ 0.190295) = 9162 m
        assert Altitude(101_325.0)(hot)[-1].value == pytest.approx(9162, abs=2)

    @pytest.mark.parametrize(("percent", "expected"), [(0.98, 1.0), (0.02, 0.07)])
    def test_an_offset_keeps_humidity_within_what_there_can_be(
        self, percent: float, expected: float
    ) -> None:
        humid = Measurement(Channel(HUMIDITY, "Humidity"), percent, 0.0)
        (corrected,) = Offset("humidity", 0.05)(Sample([humid]))
        assert corrected.value == pytest.approx(expected)

    def test_an_impossible_correction_loses_its_own_value_only(self) -> None:
        corrected = Offset("temperature", -300.0)(Sample(SAMPLE, ["humidity skipped"]))
        assert corrected == SAMPLE[1:]
        assert corrected.refused == (
            "humidity skipped",
            "temperature -274.918 °C is not between -273.15 and inf",
        )

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -273.2])
    def test_a_measurement_cannot_hold_an_impossible_value(self, value: float) -> None:
        with pytest.raises(InvalidReading):
            Measurement(TEMPERATURE_CHANNEL, value, 0.0)


def test_quantities_their_units_digits_and_forms() -> None:
    """Prometheus' base units; Home Assistant's device classes and their units."""
    quantities = {
        q.metric: (q.unit, q.digits, q.jump, f.device_class, f.unit, f.factor, f.digits)
        for q in vars(measurement).values()
        if isinstance(q, measurement.Quantity)
        for f in (q.home_assistant,)
    }
    assert quantities == {
        "temperature_celsius": ("°C", 2, 1.0, "temperature", "°C", 1.0, 2),
        "pressure_pascals": ("Pa", 2, 100.0, "atmospheric_pressure", "hPa", 0.01, 2),
        "sea_level_pressure_pascals": ("Pa", 2, None, "atmospheric_pressure", "hPa", 0.01, 2),
        "altitude_meters": ("m", 2, None, "distance", "m", 1.0, 2),
        "humidity_ratio": ("1", 4, 0.05, "humidity", "%", 100.0, 2),
        "illuminance_lux": ("lx", 2, None, "illuminance", "lx", 1.0, 2),
        "color_temperature": ("K", 0, None, None, "K", 1.0, 0),
        "color_ratio": ("1", 4, None, None, "%", 100.0, 2),
        "acceleration_meters_per_second_squared": ("m/s²", 4, None, None, "m/s²", 1.0, 3),
        "magnetic_flux_density_teslas": ("T", 9, None, None, "µT", 1e6, 2),
        "heading_degrees": ("°", 1, None, None, "°", 1.0, 1),
        "voltage_volts": ("V", 4, 0.05, "voltage", "V", 1.0, 3),
    }


class TestWeb:
    @pytest.fixture
    def bench(self) -> Bench:
        return Bench()

    @pytest.fixture
    def port(self, bench: Bench) -> Iterator[int]:
        server = WebServer("127.0.0.1", 0, answering(routes(bench.documents, bench.exposition)))
        server.start()
        yield server.address[1]
        server.stop()

    def get(self, port: int, path: str, method: str = "GET") -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read(), dict(answer.getheaders())

    def test_health_follows_the_sensor(self, bench: Bench, port: int) -> None:
        assert self.get(port, "/healthz")[0] == 503
        bench.run(2)
        status, body, _ = self.get(port, "/healthz")
        assert (status, json.loads(body)["healthy"]) == (200, True)
        del bench.rig.chips[0x77]
        bench.run(10)
        status, body, _ = self.get(port, "/healthz")
        assert status == 503
        assert "no chip answers" in json.loads(body)["sensors"]["bmp280"]["reason"]

    def test_health_tells_why_a_value_of_a_healthy_chip_is_missing(
        self, bench: Bench, port: int
    ) -> None:
        bench.run(2)
        bench.air.pressure_pascals = 112_000.0  # beyond the 1100 hPa that a BMP280 measures
        bench.run(10)  # the chip's filter follows
        status, body, _ = self.get(port, "/healthz")
        chip = json.loads(body)["sensors"]["bmp280"]
        assert (status, chip["healthy"], chip["reason"]) == (200, True, "")
        (reason,) = chip["refused"]
        assert re.fullmatch(r"pressure 111\d{3} Pa is not between 30000 and 110000", reason)
        bench.air.pressure_pascals = 98_765.0
        bench.run(10)
        chip = json.loads(self.get(port, "/healthz")[1])["sensors"]["bmp280"]
        assert chip["refused"] == []

    def test_current_and_history(self, bench: Bench, port: int) -> None:
        bench.run(600)
        current = json.loads(self.get(port, "/api/current")[1])
        assert current["measurements"][0]["value"] == 21.5
        series = json.loads(self.get(port, "/api/history")[1])["series"]
        assert [s["key"] for s in series] == ["temperature_celsius", "pressure_pascals"]
        assert len(series[0]["points"]) >= 10

    def test_the_page_may_run_only_its_own_script(self, port: int) -> None:
        status, body, headers = self.get(port, "/")
        assert status == 200
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "script-src 'sha256-" in policy
        assert b"http://" not in body
        assert b"https://" not in body

    def test_the_page_does_without_the_library_of_the_plots(
        self, port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr("sensorkit.outputs.web._DYGRAPHS", tmp_path)
        assert self.get(port, "/dygraph.js")[0] == 404
        (tmp_path / "dygraph.min.js").write_text("Dygraph")
        status, body, headers = self.get(port, "/dygraph.js")
        assert (status, body) == (200, b"Dygraph")
        assert headers["Content-Type"] == "text/javascript; charset=utf-8"

    def test_unknown_paths_and_heads(self, port: int) -> None:
        assert self.get(port, "/etc/passwd")[0] == 404
        assert self.get(port, "/../../x")[0] == 404
        status, body, headers = self.get(port, "/", "HEAD")
        assert (status, body) == (200, b"")
        assert int(headers["Content-Length"]) > 1000
        assert self.get(port, "/", "POST")[0] == 405

    def test_idle_connections_do_not_stop_the_service(self, bench: Bench, port: int) -> None:
        import socket

        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(7)]
        bench.run(2)
        assert self.get(port, "/healthz")[0] == 200
        for connection in idle:
            connection.close()


def test_chips_of_one_service_may_have_channels_with_different_labels() -> None:
    plain = Channel(ACCELERATION, "Acceleration")
    axis = Channel(ACCELERATION, "Acceleration x", (("axis", "x"),))
    healthy = Supervised("a", Bosch280(Rig().smbus(0x77), Rig().clock), Rig().clock, max_age=5)
    states = {
        name: ChipState(name, "X", Sample([Measurement(channel, 1.5, 1.0)]), healthy.health())
        for name, channel in (("a", plain), ("b", axis))
    }
    text = Exposition(Identity("e", "E", "1"), lambda: states).text().decode()
    assert "e_acceleration_meters_per_second_squared 1.5\n" in text
    assert 'e_acceleration_meters_per_second_squared{axis="x"} 1.5\n' in text
    assert 'e_sensor_info{model="X",sensor="b"} 1.0\n' in text
