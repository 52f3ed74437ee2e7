"""Which rates of pulses a counter of `gpio:` counts without a loss, and what a power cut takes.

On an emulated Pi (virt) with lines of gpio-sim, whose level a program in the guest changes. At each
rate twice: with the kernel's thread of the interrupt on any processor, and on the one that makes
the pulses. The host may stop one emulated processor while the other runs on, as no Pi does; on one
processor both stop. Then QEMU dies by SIGKILL while a line pulses at 1 kHz, and the card boots
again. With --steady, the guest has one processor and counts time in instructions (bench/steady.py):
then the host has no part in the figures. From the top of the checkout:

    PYTHONPATH=libraries/chipmodels .venv/bin/python -m bench.edges [--steady]
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.cards import built
from bench.steady import count_instructions
from piimage.emulator.session import Options, boot
from piimage.firmware.manifest import board_of
from piimage.run import Runner
from piimage.testing.shell import Shell, card_with_key
from tests.system.boot.conftest import PATIENCE, Pi
from tests.system.conftest import ROOT

RATES = (100, 500, 1000, 2000, 4000)
CUT_AT = 1000
SIM = "/sys/devices/platform/gpio-sim.0/gpiochip*/sim_gpio1"
CHIP = "/sys/kernel/config/gpio-sim/wires"
# Pulses at a rate for some seconds: each begins when it is due. Prints how many, and the seconds.
PULSES = """
import glob, os, sys, time
rate, count = float(sys.argv[1]), int(sys.argv[2])
if sys.argv[3] == 'one':
    for entry in filter(str.isdigit, os.listdir('/proc')):
        try:
            if '-piimage' in open(f'/proc/{entry}/comm').read():
                os.sched_setaffinity(int(entry), {1})
        except (FileNotFoundError, ProcessLookupError):
            pass  # it has ended meanwhile
    os.sched_setaffinity(0, {1})
file = os.open(glob.glob(sys.argv[4] + '/pull')[0], os.O_WRONLY)
start = time.monotonic()
for n in range(2 * count):
    time.sleep(max(0.0, start + n / rate / 2 - time.monotonic()))
    os.pwrite(file, b'pull-down' if n % 2 else b'pull-up', 0)
print(time.monotonic() - start)
"""
# Prints each count that the program of the system tells, with the time in the guest.
FOLLOW = """
import json, socket, time
connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
connection.connect('/run/piimage/gpio/socket')
for line in connection.makefile('r'):
    count = json.loads(line)['lines'].get('rain', {}).get('count', 0)
    print(time.monotonic(), count, flush=True)
"""
COUNT = FOLLOW.replace("flush=True)", "flush=True); break")


def image(folder: Path) -> Path:
    """Build the card."""
    shutil.copytree(ROOT / "kernel-modules/gpio-sim", folder / "gpio-sim")
    document = {
        "board": "qemu-virt",
        "hostname": "bench",
        "onboot": [{"name": "dhcp", "use": "dhcp"}],
        "services": [{"name": "sshd", "use": "sshd"}],
        "gpio": [{"name": "rain", "kind": "counter", "chip": "gpio-sim", "line": 1}],
        "modules": [{"build": "gpio-sim"}],
    }
    return built(folder, document)


@dataclass(frozen=True)
class Card:
    """A card that keeps what was written to it, and the key for its shell."""

    path: Path
    key: Path
    changes: Path

    @contextmanager
    def up(self) -> Iterator[Pi]:
        """Boot it, and wait until the line is counted."""
        runner, board = Runner(), board_of(self.path)
        options = Options(disk_size=2 << 30, disk_file=self.changes, ssh_port=0)
        with boot(self.path, board, runner, options) as session:
            assert session.ssh_port is not None
            session.wait_for("piimage: service sshd: running", PATIENCE)
            shell = Shell(runner, self.key, session.ssh_port)
            shell.wait(PATIENCE)
            pi = Pi(session, board, shell)
            pi.say(
                "grep -q configfs /proc/mounts || mount -t configfs none /sys/kernel/config; "
                f"mkdir -p {CHIP}/bank && echo 4 >{CHIP}/bank/num_lines && echo 1 >{CHIP}/live"
            )
            session.wait_for("gpio rain: counter on line 1", PATIENCE)
            yield pi


def python(program: str, *words: object) -> str:
    """Return the command line that runs a program on the Pi."""
    return shlex.join(["python3", "-c", program, *map(str, words)])


def count(pi: Pi) -> int:
    """Return what the counter has counted."""
    return int(pi.say(python(COUNT)).split()[1])


def rates(pi: Pi, seconds: float, places: Sequence[str]) -> None:
    """Pulse at each rate, and print what was lost."""
    print("| wanted | made | counted | lost | processors |\n|--:|--:|--:|--:|---|")
    for where in places:
        for rate in RATES:
            before, pulses = count(pi), int(rate * seconds)
            spent = float(pi.say(python(PULSES, rate, pulses, where, SIM)))
            time.sleep(1)
            counted = count(pi) - before
            print(
                f"| {rate} Hz | {pulses / spent:.0f} Hz | {counted} of {pulses} "
                f"| {100 * (1 - counted / pulses):.3f} % | {where} |",
                flush=True,
            )


@dataclass
class Heard:
    """The counts that came before a cut, each with the guest's time."""

    counts: list[tuple[float, int]] = field(default_factory=list)

    def listen(self, process: subprocess.Popen[str]) -> None:
        """Note what the process prints."""
        assert process.stdout is not None
        for text in process.stdout:
            moment, counted = text.split()
            self.counts.append((float(moment), int(counted)))

    def before_the_end(self, seconds: float) -> int:
        """Return what had been counted so many seconds before the last word."""
        end = self.counts[-1][0] - seconds
        return max((counted for moment, counted in self.counts if moment <= end), default=0)


def follow(pi: Pi) -> tuple[subprocess.Popen[str], Heard]:
    """Start to note what is counted."""
    options = ["-F", "/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR"]
    target = ["-p", str(pi.shell.port), "-i", str(pi.shell.key), "root@127.0.0.1"]
    process = subprocess.Popen(
        ["ssh", *options, "-o", "UserKnownHostsFile=/dev/null", *target, python(FOLLOW)],
        stdout=subprocess.PIPE,
        text=True,
    )
    heard = Heard()
    threading.Thread(target=heard.listen, args=[process], daemon=True).start()
    return process, heard


def cut(card: Card, seconds: float, where: str) -> None:
    """Cut the power after some seconds of pulses, boot again, and print what is left."""
    with card.up() as pi:
        process, heard = follow(pi)
        while not heard.counts:
            time.sleep(0.1)
        pulses = python(PULSES, CUT_AT, 1000 * CUT_AT, where, SIM)
        pi.say(f"{pulses} </dev/null >/dev/null 2>&1 &")
        time.sleep(seconds)
        os.kill(pi.session.pid, signal.SIGKILL)
        process.wait()
    with card.up() as pi:
        left = count(pi)
    at, before = heard.before_the_end(0.0), heard.before_the_end(1.0)
    print(
        f"cut after {seconds:.2f} s: {at} counted, {before} a second before, {left} after the "
        f"next boot: {'kept all but the last second' if left >= before else 'LOST MORE'}",
        flush=True,
    )


def main() -> None:
    """Measure both, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="for each rate")
    parser.add_argument("--cuts", type=int, default=3, help="power cuts")
    parser.add_argument("--steady", action="store_true", help="time is counted in instructions")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.steady:
            count_instructions(folder / "bin")
        built = image(folder)
        path, key = card_with_key(Runner(), built, board_of(built), folder)
        card = Card(path, key, folder / "changes.qcow2")
        with card.up() as pi:
            rates(pi, arguments.seconds, ("any",) if arguments.steady else ("one", "any"))
        for number in range(arguments.cuts):
            cut(card, 8.0 + 1.37 * number, "any" if arguments.steady else "one")
        print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
