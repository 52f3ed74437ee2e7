"""The command line of the service sensors, on trees of files as the kernel makes them."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
import sensors
import yaml
from chipmodels.clock import VirtualClock
from sensorkit.cli import run
from sensorkit.clock import SystemClock
from sensorkit.kernel.devices import BufferedSensor
from sensorkit.measurement import Sample
from sensorkit.options import load
from sensorkit.outputs.documents import Documents
from sensorkit.outputs.history import History
from sensorkit.outputs.prometheus import Exposition
from sensorkit.station import Plan, Station

FOLDER = Path(__file__).parents[3] / "services/sensors"


class Bench:
    """A Pi's files below /sys, and the list of its sensors."""

    def __init__(self, folder: Path) -> None:
        self.sys = folder / "sys"
        self.list = folder / "sensors.json"
        self.entries: list[dict[str, object]] = []
        self.clock = VirtualClock()
        for bus in (1, 2):
            (self.sys / f"bus/i2c/devices/i2c-{bus}").mkdir(parents=True)

    def chip(self, name: str, address: int, milli: int | None, **more: object) -> None:
        """List a chip; it answers if `milli` is its temperature."""
        place = {"chip": "bme280", "bus": "i2c1", "address": address}
        self.entries.append({"name": name, **place, "every": 2, **more})
        self.list.write_text(json.dumps({"sensors": self.entries}))
        if milli is not None:
            device = self.device(address)
            (device / "iio:device0").mkdir(parents=True)
            (device / "driver").mkdir()
            (device / "iio:device0/in_temp_input").write_text(f"{milli}\n")

    def device(self, address: int, bus: int = 1) -> Path:
        return self.sys / f"bus/i2c/devices/{bus}-{address:04x}"

    def zone(self, milli: int) -> None:
        zone = self.sys / "class/thermal/thermal_zone0"
        zone.mkdir(parents=True, exist_ok=True)
        (zone / "type").write_text("cpu-thermal\n")
        (zone / "temp").write_text(f"{milli}\n")

    def run(self, *arguments: str, **variables: str) -> tuple[int, str]:
        out = io.StringIO()
        variables = {"SENSORS_FILE": str(self.list)} | variables
        status = run(sensors.service(self.sys), arguments, variables, out, self.clock)
        return status, out.getvalue()

    def plans(self, **variables: str) -> Sequence[Plan]:
        service = sensors.service(self.sys)
        variables = {"SENSORS_FILE": str(self.list)} | variables
        values = load(service.all_options(), variables, prefix=service.prefix)
        return service.plans(values, self.clock)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_each_named_sensor_is_a_sample_and_the_others_are_one(bench: Bench) -> None:
    bench.chip("air", 0x76, 21500, offset={"temperature": -0.5})
    bench.chip("bed", 0x77, 17250)
    bench.zone(48312)
    status, out = bench.run("read", "--once", "--json")
    air, bed, others = map(json.loads, out.splitlines())
    assert status == 0
    assert (air["sensor"], air["temperature_air_celsius"]) == ("air", 21.0)
    assert (bed["sensor"], bed["temperature_bed_celsius"]) == ("bed", 17.25)
    assert (others["sensor"], others["temperature_cpu_thermal_celsius"]) == ("others", 48.31)


def test_a_filter_is_over_the_last_samples_and_before_the_offset(bench: Bench) -> None:
    bench.chip("air", 0x76, 20000, filter={"median": 3}, offset={"temperature": 1})
    (plan,) = bench.plans()
    values = []
    for milli in (20000, 20500, 24000, 20500):
        (bench.device(0x76) / "iio:device0/in_temp_input").write_text(f"{milli}\n")
        values += [m.value for m in plan.chip.poll()]
        bench.clock.sleep(2)
    assert values == [21.0, 21.25, 21.5, 21.5]


def test_a_chip_with_a_rate_is_read_from_its_buffer(bench: Bench) -> None:
    bench.chip("air", 0x76, 20000, rate=50)
    (plan,) = bench.plans()
    assert isinstance(plan.chip.driver, BufferedSensor)
    assert not plan.chip.poll()
    assert plan.chip.health().reason == "the driver has no buffer, which rate: needs"


def test_people_read_titles(bench: Bench) -> None:
    bench.chip("air", 0x76, 21500)
    _, out = bench.run("read", "--once")
    assert out == "air: Temperature               21.50 °C\n"


def test_a_chip_that_does_not_answer_leaves_the_others(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.chip("air", 0x76, None)
    bench.chip("bed", 0x77, 17250)
    status, out = bench.run("read", "--once", "--influx")
    assert status == 1
    assert out.startswith("sensors,sensor=bed temperature_bed_celsius=17.25 ")
    assert capsys.readouterr().err == (
        "air: no bme280 answers at 0x76 on i2c1; check wiring, power and address\n"
    )


def test_selftest_names_what_is_wrong(bench: Bench) -> None:
    bench.chip("air", 0x76, None)
    bench.chip("bed", 0x77, 17250)
    status, out = bench.run("selftest")
    assert status == 1
    assert "FAIL  air: no bme280 answers at 0x76 on i2c1" in out
    assert "ok    bed: temperature_bed 17.25 °C" in out


def test_a_pi_without_a_list_publishes_what_there_is(bench: Bench, tmp_path: Path) -> None:
    bench.zone(48312)
    status, out = bench.run("read", "--once", "--json", SENSORS_FILE=str(tmp_path / "missing"))
    assert status == 0
    assert json.loads(out)["temperature_cpu_thermal_celsius"] == 48.31


def test_the_others_can_be_left_out_and_need_no_plan_if_there_are_none(bench: Bench) -> None:
    bench.chip("air", 0x76, 21500)
    assert [plan.chip.name for plan in bench.plans()] == ["air"]
    bench.zone(48312)
    assert [plan.chip.name for plan in bench.plans()] == ["air", "others"]
    assert [plan.chip.name for plan in bench.plans(SENSORS_OTHERS="no")] == ["air"]


def test_a_damaged_list_is_an_error_of_the_configuration(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.list.write_text("{")
    assert bench.run("read", "--once")[0] == 2
    assert "SENSORS_FILE" in capsys.readouterr().err


def station(bench: Bench) -> tuple[Station, Documents, Exposition]:
    service = sensors.service(bench.sys)
    history = History((), seconds=3600, slots=60)
    found = Station(bench.plans(), [history], bench.clock)
    documents = Documents(service.identity, found, history, bench.clock, service.enough)
    return found, documents, Exposition(service.identity, found.states)


def test_metrics_have_the_name_of_the_sensor_and_one_unhealthy_sensor_is_no_failure(
    bench: Bench,
) -> None:
    bench.chip("air", 0x76, None)
    bench.chip("bed", 0x77, 17250)
    found, documents, exposition = station(bench)
    assert not documents.health()[0]
    found.step()
    healthy, document = documents.health()
    assert healthy
    assert not document["sensors"]["air"]["healthy"]
    text = exposition.text().decode()
    for line in (
        'sensors_temperature_celsius{sensor="bed"} 17.25',
        'sensors_sensor_healthy{sensor="air"} 0.0',
        'sensors_sensor_healthy{sensor="bed"} 1.0',
        'sensors_sensor_info{model="bme280",sensor="bed"} 1.0',
    ):
        assert line in text.splitlines()


def test_a_chip_that_comes_later_gets_its_plot_and_its_metric(bench: Bench) -> None:
    bench.chip("air", 0x76, None)
    bench.chip("bed", 0x77, 17250)
    found, documents, _ = station(bench)
    found.step()
    assert [series["key"] for series in documents.plots()["series"]] == ["temperature_bed_celsius"]
    device = bench.device(0x76)
    (device / "iio:device0").mkdir(parents=True)
    (device / "driver").mkdir()
    (device / "iio:device0/in_temp_input").write_text("21500\n")
    bench.clock.sleep(60)
    found.step()
    plots = {series["key"]: series["points"] for series in documents.plots()["series"]}
    assert set(plots) == {"temperature_bed_celsius", "temperature_air_celsius"}
    assert [value for _, value in plots["temperature_air_celsius"]] == [21.5]
    (air,) = (m for m in documents.current()["measurements"] if m["sensor"] == "air")
    assert (air["quantity"], air["channel"], air["value"]) == ("temperature", "", 21.5)


def test_a_slow_bus_does_not_hold_up_another(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each bus has a thread: here the read of one never ends."""
    bench.chip("slow", 0x76, 1000)
    bench.chip("fast", 0x77, 17250)
    bench.entries[1]["bus"] = "i2c2"
    bench.list.write_text(json.dumps({"sensors": bench.entries}))
    bench.device(0x77).rename(bench.device(0x77, bus=2))
    stop, blocked, sampled = threading.Event(), threading.Event(), threading.Event()
    slow, fast = bench.plans()
    assert (slow.group, fast.group) == ("i2c1", "i2c2")

    def never() -> Sample:
        blocked.wait(60)
        return Sample()

    monkeypatch.setattr(slow.chip, "poll", never)

    class Noting:
        def publish(self, state: object) -> None:
            sampled.set()

    running = Station([slow, fast], [Noting()], SystemClock())
    thread = threading.Thread(target=running.run, args=(stop,))
    thread.start()
    try:
        assert sampled.wait(30)
        assert running.states()["fast"].health.healthy
    finally:
        stop.set()
        blocked.set()
        thread.join(30)


def test_service_file_matches_the_program() -> None:
    service = yaml.safe_load((FOLDER / "service.yml").read_text())
    variables = {o.variable for o in sensors.service(Path("/")).all_options()}
    for entry in service["config"]["env"]:
        name = entry.partition("=")[0]
        assert not name.startswith(("SENSORS_", "MQTT_")) or name in variables
    assert service["health"]["http"].endswith(f":{sensors.PORT}/healthz")
    assert [(FOLDER / folder).is_dir() for folder in service["python"]] == [True, True]
    assert "devices" not in service["config"]
