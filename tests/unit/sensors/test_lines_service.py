"""GPIO lines in the service sensors, from the program that holds them to every output."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sensors
from piimage_lines.settings import Line
from sensorkit.clock import SystemClock
from sensorkit.errors import BusError
from sensorkit.gpio.client import LinesClient
from sensorkit.options import load
from sensorkit.outputs.home_assistant import discovery, state
from sensorkit.outputs.prometheus import Exposition
from sensorkit.station import ChipState, Identity, Plan, Station

from tests.unit.gpio.bench import PATIENCE, Bench, until

LINES = (
    Line("door", "input", "chip", 17),
    Line("rain", "counter", "chip", 27),
    Line("pump", "output", "chip", 22),
)


class Noting:
    """An output that keeps the last values."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def publish(self, found: ChipState) -> None:
        for measurement in found.sample:
            self.values[found.name] = measurement.value


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, *LINES)
    made.start()
    until(lambda: len(made.wires) == 3, "the lines")
    yield made
    made.stop()


def plans(bench: Bench, every: float = 3600) -> tuple[Plan, ...]:
    entries = [
        {"name": line.name, "kind": line.kind, "line": line.offset, "every": every}
        for line in LINES
    ]
    file = bench.folder / "sensors.json"
    file.write_text(json.dumps({"sensors": [], "lines": entries}))
    service = sensors.service(bench.folder / "sys", bench.socket)
    values = load(service.all_options(), {"SENSORS_FILE": str(file)}, prefix=service.prefix)
    return tuple(service.plans(values, SystemClock()))


def named(found: tuple[Plan, ...], name: str) -> Plan:
    return next(plan for plan in found if plan.chip.name == name)


def test_each_line_is_a_metric_of_its_kind(bench: Bench) -> None:
    bench.wires["rain"].pulse(12)
    bench.wires["door"].pulse()
    found = plans(bench)
    station = Station(found, [], SystemClock())
    until(lambda: named(found, "rain").chip.poll()[0].value == 12, "the pulses")
    station.step()
    text = Exposition(Identity("sensors", "Sensors", "1"), station.states).text().decode()
    for line in (
        'sensors_input_active{sensor="door"} 1.0',
        'sensors_output_active{sensor="pump"} 0.0',
        'sensors_pulses_total{sensor="rain"} 12.0',
        "# TYPE sensors_pulses_total counter",
        'sensors_sensor_info{model="gpio17",sensor="door"} 1.0',
    ):
        assert line in text.splitlines()


@pytest.mark.slow
def test_a_change_is_published_at_once_and_counts_wait_for_their_interval(bench: Bench) -> None:
    output, stop = Noting(), threading.Event()
    found = plans(bench)
    station = Station(found, [output], SystemClock())
    thread = threading.Thread(target=station.run, args=(stop,))
    thread.start()
    try:
        until(lambda: output.values == {"door": 0, "rain": 0, "pump": 0}, "the first samples")
        bench.wires["door"].pulse()
        until(lambda: output.values["door"] == 1, "the change")
        bench.wires["rain"].pulse()
        switch = named(found, "pump").switch
        assert switch is not None
        switch(True)
        until(lambda: output.values["pump"] == 1, "the output")
        assert output.values["rain"] == 0
        assert bench.wires["pump"].history == [True]
    finally:
        stop.set()
        thread.join(PATIENCE)


def test_only_outputs_are_switches(bench: Bench) -> None:
    assert [plan.chip.name for plan in plans(bench) if plan.switch] == ["pump"]


def test_home_assistant_sees_a_binary_sensor_a_count_and_a_switch(bench: Bench) -> None:
    found = plans(bench)
    chips = {plan.chip.name: plan.channels for plan in found}
    document = discovery(Identity("sensors", "Sensors", "1"), "pi", "sensorkit/pi", chips, 60)
    door, rain, pump = (
        document["cmps"][key] for key in ("input_active_door", "pulses_rain", "output_active_pump")
    )
    assert (door["p"], rain["p"], pump["p"]) == ("binary_sensor", "sensor", "switch")
    assert door["state_topic"] == "sensorkit/pi/door"
    assert door["value_template"] == (
        "{{ 'ON' if value_json.input_active_door | default(0) else 'OFF' }}"
    )
    assert rain["state_class"] == "total_increasing"
    assert pump["command_topic"] == "sensorkit/pi/pump/set"
    assert "expire_after" not in pump
    sample = named(found, "pump").chip.poll()
    assert state(sample)["output_active_pump"] == 0


@pytest.mark.slow
def test_a_program_that_does_not_answer_is_the_reason_of_every_line(bench: Bench) -> None:
    bench.stop()
    bench.socket.unlink()
    chip = named(plans(bench), "door").chip
    assert not chip.poll()
    assert chip.health().reason == "the program of the Pi that holds GPIO lines does not answer"


def test_a_line_that_is_not_held_says_why(bench: Bench) -> None:
    bench.missing["door"] = "line 17 of chip is used by led"
    bench.wires["door"].break_off()
    client = LinesClient(bench.socket)
    client.start()

    def reason() -> str:
        try:
            client.line("door")
        except BusError as error:
            return str(error)
        return ""

    until(lambda: reason() == "line 17 of chip is used by led", "the reason")
    assert client.line("rain")["count"] == 0
    with pytest.raises(BusError, match="the Pi has no GPIO line bell"):
        client.line("bell")


@pytest.mark.slow
def test_the_client_connects_again(bench: Bench) -> None:
    client = LinesClient(bench.socket)
    client.start()
    assert client.line("rain")["count"] == 0
    bench.wires["rain"].pulse(4)
    until(lambda: bench.saved() == {"rain": 4}, "the saved count")
    bench.stop()

    def is_away() -> bool:
        try:
            client.line("rain")
        except BusError:
            return True
        return False

    until(is_away, "the end of the connection")
    bench.start()
    until(lambda: not is_away() and client.line("rain").get("count") == 4, "the count")


def test_what_is_refused_is_told_in_the_log(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    client = LinesClient(bench.socket)
    client.start()
    client.set("bell", True)
    messages: list[str] = []

    def told() -> bool:
        messages.append(capsys.readouterr().err)
        return "there is no output bell" in "".join(messages)

    until(told, "the message")


def test_read_prints_lines_for_people(bench: Bench) -> None:
    (door,) = named(plans(bench), "door").chip.poll()
    assert (door.channel.title, door.rounded) == ("door: input active", 0)
