"""`gpio:` in a real kernel: lines of gpio-sim, from the file to edges, relays and /metrics."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator

import pytest

from tests.system.boot.conftest import Pi

PATIENCE = 300.0
CHIP = "/sys/kernel/config/gpio-sim/wires"
SIM = "/sys/devices/platform/gpio-sim.0/gpiochip*/sim_gpio"
WHY = "initctl status _gpio; ls /dev/gpiochip*; dmesg | tail -20"
# Pulses of a line, high for half of their time; prints the seconds of all. They are made on the
# processor that handles the interrupts: the host may stop one emulated processor while another
# runs on, as no Pi does.
PULSES = """
import glob, os, sys, time
os.sched_setaffinity(0, {0})
for entry in filter(str.isdigit, os.listdir('/proc')):
    try:
        if '-piimage' in open(f'/proc/{entry}/comm').read():
            os.sched_setaffinity(int(entry), {0})
    except (FileNotFoundError, ProcessLookupError):
        pass  # it has ended meanwhile
path, count, rate = glob.glob(sys.argv[1] + '/pull')[0], int(sys.argv[2]), float(sys.argv[3])
file = os.open(path, os.O_WRONLY)
start = time.monotonic()
for n in range(count):
    for level in (b'pull-up', b'pull-down'):
        os.pwrite(file, level, 0)
        time.sleep(0.5 / rate)
print(time.monotonic() - start)
"""
# Sets an output as a program does, prints what the wire is, and leaves.
PROGRAM = """
import json, os, socket, sys, glob
connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
connection.connect('/run/piimage/gpio/socket')
lines = connection.makefile('r')
print(lines.readline().strip())
for text in sys.argv[1:]:
    name, _, value = text.partition('=')
    connection.sendall(json.dumps({'set': {name: value == 'on'}}).encode() + b'\\n')
    while json.loads(lines.readline())['lines'].get(name, {}).get('active') != (value == 'on'):
        pass
print(*(open(path).read().strip() for path in sorted(glob.glob('SIM[23]/value'))))
""".replace("SIM", SIM)


def until(condition: Callable[[], bool], pi: Pi) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, pi.shell.run(["sh", "-c", WHY], 60)
        time.sleep(0.5)


def metric(pi: Pi, name: str) -> float | None:
    text = pi.say("wget -q -O - http://127.0.0.1:9284/metrics || :")
    found = re.search(rf"^sensors_{re.escape(name)} (\S+)$", text, re.M)
    return float(found[1]) if found else None


def program(pi: Pi, *values: str) -> tuple[dict[str, dict[str, object]], list[str]]:
    """Run a program that sets outputs: the lines before that, and both outputs' wires after."""
    told, wires = pi.say(f'python3 -c "{PROGRAM}" {" ".join(values)}').strip().splitlines()
    return json.loads(told)["lines"], wires.split()


def rain(pi: Pi) -> int:
    """What the counter has counted."""
    count = program(pi)[0]["rain"]["count"]
    assert isinstance(count, int)
    return count


def pulses(pi: Pi, count: int, rate: float) -> float:
    return float(pi.say(f'python3 -c "{PULSES}" "{SIM}1" {count} {rate}'))


@pytest.fixture(scope="module")
def wired(pi: Pi) -> Iterator[Pi]:
    """The chip, made long after the boot; the program that holds its lines looks for it again."""
    pi.say(
        "grep -q configfs /proc/mounts || mount -t configfs none /sys/kernel/config; "
        f"mkdir -p {CHIP}/bank && echo 4 >{CHIP}/bank/num_lines && echo 1 >{CHIP}/live"
    )
    until(lambda: metric(pi, 'output_active{sensor="lamp"}') == 1, pi)
    yield pi


def test_the_console_tells_of_a_chip_that_was_missing_and_that_came(wired: Pi) -> None:
    told = [line.text for line in wired.session.lines() if "piimage: gpio rain" in line.text]
    assert "there is no GPIO chip gpio-sim; it will be tried again" in told[0]
    assert "gpio rain: counter on line 1 of gpio-sim" in told[1]


def test_an_input_is_published_as_soon_as_it_changes(wired: Pi) -> None:
    """Its interval is a day; `active: low` and `pull: up` make it inactive at first."""
    assert metric(wired, 'input_active{sensor="door"}') == 0
    for level, value in (("pull-down", 1), ("pull-up", 0)):
        wired.say(f"echo {level} >$(echo {SIM}0/pull)")
        until(lambda wanted=value: metric(wired, 'input_active{sensor="door"}') == wanted, wired)


@pytest.mark.parametrize(("rate", "count"), [(100, 300), (1000, 1000)])
def test_no_edge_is_lost(wired: Pi, rate: int, count: int) -> None:
    before = rain(wired)
    seconds = pulses(wired, count, rate)
    print(f"{count} pulses in {seconds:.2f} s")  # noqa: T201
    until(lambda: metric(wired, 'pulses_total{sensor="rain"}') == before + count, wired)


def test_outputs_follow_the_program_that_sets_them_and_the_file_when_it_leaves(wired: Pi) -> None:
    lines, wires = program(wired)
    assert (lines["pump"]["active"], lines["lamp"]["active"]) == (False, True)
    assert wires == ["0", "1"]  # at_boot
    assert program(wired, "pump=on", "lamp=off")[1] == ["1", "0"]
    lines, wires = program(wired)
    assert (lines["pump"]["active"], lines["lamp"]["active"]) == (False, False)  # off; keep
    assert wires == ["0", "0"]
    until(lambda: metric(wired, 'output_active{sensor="lamp"}') == 0, wired)


def test_the_count_outlives_the_program_that_counts(wired: Pi) -> None:
    """Killed like this, nothing is written any more: as in a power cut."""
    pulses(wired, 7, 100)
    before = program(wired)[0]["rain"]["count"]
    time.sleep(2)  # a count is on the disk after a second
    wired.say(
        "for path in /proc/[0-9]*; do "
        "! grep -qs 'piimage/gpi[o]' $path/cmdline || kill -9 ${path#/proc/}; done"
    )
    until(lambda: wired.shell.run(["python3", "-c", PROGRAM], 60).status == 0, wired)
    until(lambda: metric(wired, 'pulses_total{sensor="rain"}') == before, wired)
    lines, wires = program(wired)
    assert lines["rain"]["count"] == before
    assert wires == ["0", "1"]  # as at boot


def test_the_container_has_no_gpio_device(wired: Pi) -> None:
    inside = "runc --root /run/containerd/runc/services.linuxkit exec sensors /usr/bin/python3 -c "
    nodes = wired.say(f"{inside} 'import os; print(os.listdir(\"/dev\"))'")
    assert "gpiochip" not in nodes
