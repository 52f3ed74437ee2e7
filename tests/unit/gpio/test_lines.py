"""The program that holds GPIO lines: counts, outputs, and the programs that use them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from piimage_lines.counts import BLOCK, Counts
from piimage_lines.settings import Line, read_lines

from tests.unit.gpio.bench import Bench, Client, until

DOOR = Line("door", "input", "chip", 17, active_low=True)
RAIN = Line("rain", "counter", "chip", 27)
PUMP = Line("pump", "output", "chip", 22)
LAMP = Line("lamp", "output", "chip", 23, at_boot=True, on_failure=None, at_shutdown=None)
VALVE = Line("valve", "output", "chip", 24, on_failure=True, at_shutdown=True)

Make = Callable[..., Bench]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Bench] = []

    def bench(*lines: Line, **options: float) -> Bench:
        made.append(Bench(tmp_path, *lines, **options))
        return made[-1]

    yield bench
    for found in made:
        found.stop()


def started(bench: Bench) -> Client:
    bench.start()
    client = Client(bench.socket)
    client.read()
    for line in bench.lines:
        if line.name not in bench.missing:
            client.until(line.name, error=None)
    return client


def test_a_program_is_told_all_lines_at_first_and_then_what_changes(make: Make) -> None:
    bench = make(DOOR, RAIN, PUMP)
    client = started(bench)
    assert client.lines == {
        "door": {"kind": "input", "active": False},
        "rain": {"kind": "counter", "count": 0},
        "pump": {"kind": "output", "active": False},
    }
    bench.wires["door"].pulse()
    assert client.read() == {"lines": {"door": {"kind": "input", "active": True}}}
    bench.wires["rain"].pulse(3, active=False)
    assert client.read() == {"lines": {"rain": {"kind": "counter", "count": 3}}}


@pytest.mark.slow
def test_counts_go_on_after_a_restart(make: Make) -> None:
    bench = make(RAIN)
    client = started(bench)
    bench.wires["rain"].pulse(41)
    client.until("rain", count=41)
    bench.stop()
    assert bench.saved() == {"rain": 41}
    again = started(bench)
    assert again.lines["rain"]["count"] == 41
    bench.wires["rain"].pulse()
    again.until("rain", count=42)


@pytest.mark.slow
def test_counts_are_saved_within_a_second_without_a_shutdown(make: Make) -> None:
    """So a power cut loses the pulses of the last second, and no others."""
    bench = make(RAIN)
    started(bench)
    bench.wires["rain"].pulse(7)
    until(lambda: bench.saved() == {"rain": 7}, "the saved count")


def test_a_disk_that_takes_nothing_is_told_once_and_counting_goes_on(make: Make) -> None:
    bench = make(RAIN)
    bench.counts.parent.parent.mkdir()
    bench.counts.parent.write_text("a file where a folder should be")
    client = started(bench)
    bench.wires["rain"].pulse(2)
    client.until("rain", count=2)
    until(lambda: any("counts cannot be saved" in line for line in bench.messages), "the message")
    bench.stop()
    assert sum("counts cannot be saved" in line for line in bench.messages) == 1


def test_a_write_that_a_power_cut_tore_leaves_the_count_before(tmp_path: Path) -> None:
    path = tmp_path / "counts"
    for count in (1, 2, 3):
        Counts(str(path)).save({"rain": count})
    whole = path.read_bytes()
    assert b'"rain": 3' in whole[:BLOCK]
    for torn in (0, 1, 40):
        path.write_bytes(whole[:torn].ljust(BLOCK, b"\0") + whole[BLOCK:])
        assert Counts(str(path)).saved == {"rain": 2}, torn
    path.write_bytes(b"")
    assert Counts(str(path)).saved == {}


def test_what_has_not_changed_is_not_written(tmp_path: Path) -> None:
    counts = Counts(str(tmp_path / "counts"))
    counts.save({"rain": 1})
    (tmp_path / "counts").unlink()
    counts.save({"rain": 1})
    assert not (tmp_path / "counts").exists()


def test_more_counters_than_a_block_holds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="400 counters do not fit in 4096 bytes"):
        Counts(str(tmp_path / "counts")).save({f"counter_{n}": n for n in range(400)})


def test_an_output_is_set_and_every_program_is_told(make: Make) -> None:
    bench = make(PUMP)
    first = started(bench)
    second = Client(bench.socket)
    first.set("pump", True)
    for client in (first, second):
        client.until("pump", active=True)
    assert bench.wires["pump"].history == [True]


def test_an_output_takes_its_state_for_a_failure_when_who_set_it_is_gone(make: Make) -> None:
    bench = make(PUMP, LAMP, VALVE)
    setter = started(bench)
    watcher = Client(bench.socket)
    for name, value in (("pump", True), ("lamp", False), ("valve", False)):
        setter.set(name, value)
        watcher.until(name, active=value)
    setter.close()
    watcher.until("pump", active=False)
    watcher.until("valve", active=True)
    assert watcher.lines["lamp"]["active"] is False  # keep


def test_an_output_that_another_program_set_since_stays_as_it_is(make: Make) -> None:
    bench = make(PUMP, VALVE)
    first = started(bench)
    second = Client(bench.socket)
    first.set("valve", False)
    first.set("pump", True)
    second.until("pump", active=True)
    second.set("pump", True)
    until(lambda: bench.wires["pump"].history == [True, True], "the second command")
    first.close()
    second.until("valve", active=True)
    assert bench.wires["pump"].history == [True, True]


def test_a_program_that_is_silent_counts_as_gone(make: Make) -> None:
    bench = make(PUMP, alive=0.3)
    setter = started(bench)
    setter.set("pump", True)
    setter.until("pump", active=True)
    setter.until("pump", active=False)
    assert "gpio: a program that set outputs does not answer any more" in bench.messages


@pytest.mark.slow
def test_a_program_that_shows_that_it_is_alive_keeps_its_outputs(make: Make) -> None:
    bench = make(PUMP, RAIN, alive=2.0)
    setter = started(bench)
    setter.set("pump", True)
    for count in range(1, 31):  # a count is told every tenth of a second
        setter.send("{}")
        bench.wires["rain"].pulse()
        setter.until("rain", count=count)
    assert bench.wires["pump"].history == [True]


def test_outputs_have_their_states_at_boot_and_at_shutdown(make: Make) -> None:
    bench = make(PUMP, LAMP, VALVE)
    client = started(bench)
    states = {name: line["active"] for name, line in client.lines.items()}
    assert states == {"pump": False, "lamp": True, "valve": False}
    client.set("pump", True)
    client.until("pump", active=True)
    bench.stop()
    assert bench.wires["pump"].history == [True, False]
    assert bench.wires["lamp"].history == []
    assert bench.wires["valve"].history == [True]


@pytest.mark.parametrize(
    ("name", "value", "refused"),
    [
        ("pumps", True, "there is no output pumps"),
        ("rain", True, "there is no output rain"),
        ("lamp", True, "the output lamp is not held: line 23 of chip is used by led"),
        ("pump", 1, "the output pump is true or false"),
    ],
)
def test_what_cannot_be_set_is_refused(name: str, value: object, refused: str, make: Make) -> None:
    bench = make(PUMP, RAIN, LAMP)
    bench.missing["lamp"] = "line 23 of chip is used by led"
    client = started(bench)
    client.set(name, value)
    while (message := client.read()).get("refused") is None:
        pass
    assert message == {"refused": refused}


@pytest.mark.slow
@pytest.mark.parametrize("text", ["{", "[]", '{"set": []}', "x" * 5000])
def test_a_program_that_sends_something_else_is_disconnected(text: str, make: Make) -> None:
    bench = make(PUMP)
    client = started(bench)
    client.send(text)
    while client.file.readline():
        pass
    assert Client(bench.socket).read()["lines"]["pump"]["active"] is False


def test_a_line_that_is_missing_leaves_the_others_and_is_told_once(make: Make) -> None:
    bench = make(DOOR, RAIN)
    bench.missing["door"] = "there is no GPIO chip chip"
    client = started(bench)
    bench.wires["rain"].pulse()
    client.until("rain", count=1)
    client.until("door", error="there is no GPIO chip chip")
    assert bench.messages == [
        "gpio door: there is no GPIO chip chip; it will be tried again",
        "gpio rain: counter on line 27 of chip",
    ]


@pytest.mark.slow
def test_a_chip_that_goes_is_told_and_its_lines_are_tried_again(make: Make) -> None:
    bench = make(DOOR, RAIN)
    client = started(bench)
    bench.wires["rain"].pulse(5)
    client.until("rain", count=5)
    before = bench.wires["rain"]
    before.break_off()
    client.until("rain", error="the chip is gone (No such device)", count=None)
    client.until("rain", error=None, count=5)
    assert bench.wires["rain"] is not before
    assert "gpio rain: the chip is gone (No such device)" in bench.messages
    bench.wires["rain"].pulse()
    client.until("rain", count=6)


def test_the_list_is_what_the_build_writes(tmp_path: Path) -> None:
    path = tmp_path / "gpio.json"
    entry = {"name": "rain", "kind": "counter", "chip": "chip", "line": 27}
    path.write_text(json.dumps({"lines": [entry]}))
    assert read_lines(str(path)) == (RAIN,)
    path.write_text("{}")
    with pytest.raises(ValueError, match=r"gpio\.json is not piimage's list of GPIO lines"):
        read_lines(str(path))
