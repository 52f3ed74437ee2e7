"""What the service `sensors` costs with twenty chips at 1 s, and what one that fails does to it.

On an emulated Pi (virt): models on sensor-sim under the kernel's own drivers, and the control group
of the container. At first all chips answer; then one is unplugged. The processor time is that of an
emulated Cortex-A72, which is slower than one of a Pi 4, and that of the service alone: the models
and the kernel's transfers are not in it.

With --files, the service runs on this computer, and files stand for the kernel's drivers: that is
the work of the service alone. With --steady, time in the guest is counted in instructions
(bench/steady.py). From the top of the checkout:

    PYTHONPATH=libraries/chipmodels .venv/bin/python -m bench.exporter [--files | --steady]
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import tempfile
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import smbus2

from bench.cards import built
from bench.kernel_files import Chip, Service, make, serving
from bench.steady import count_instructions
from bench.usage import Usage
from tests.system.boot.conftest import Pi, up
from tests.system.conftest import ROOT

CHIPS = {
    "bh1750": (0x23, 0x5C),
    "sht3x": (0x44, 0x45),
    "ina219": (0x40, 0x41, 0x42, 0x43),
    "ads1015": (0x48, 0x49, 0x4A, 0x4B),
    "bme280": (0x76, 0x77),
    "tcs3472": (0x29, 0x2A),
    "mma8452": (0x1C, 0x1D),
    "srf08": (0x70, 0x71),
}
UNPLUGGED = "sht3x_1"
CONTROL = "PYTHONPATH=/usr/lib/chipmodels.zip python3 -m chipmodels.control /run/sensors.sock"


def sensors() -> Mapping[str, tuple[str, int]]:
    """Return the chips and addresses by the sensors' names."""
    return {
        f"{chip}_{number}": (chip, address)
        for chip, addresses in CHIPS.items()
        for number, address in enumerate(addresses)
    }


def appliance() -> Mapping[str, object]:
    """Return the file."""
    named = [
        {"chip": chip, "bus": "i2c1", "address": address, "name": name, "every": "1s"}
        for name, (chip, address) in sensors().items()
    ]
    health = {"http": "http://127.0.0.1:9284/healthz", "every": "10s", "start": "600s"}
    return {
        "board": "qemu-virt",
        "hostname": "bench",
        "onboot": [{"name": "dhcp", "use": "dhcp"}],
        "services": [
            {"name": "sshd", "use": "sshd"},
            {"name": "sensors", "use": "sensors", "health": health},
        ],
        "sensors": named,
        "modules": [{"build": "sensor-sim", "params": {"bus": "1", "timeout_ms": "4000"}}],
        "files": [
            {"path": "usr/lib/chipmodels.zip", "source": "chipmodels.zip", "mode": "0644"},
        ],
    }


def image(folder: Path) -> Path:
    """Build the card."""
    shutil.copytree(ROOT / "kernel-modules/sensor-sim", folder / "sensor-sim")
    with zipfile.ZipFile(folder / "chipmodels.zip", "w") as archive:
        packages = (ROOT / "libraries/chipmodels/chipmodels", Path(smbus2.__file__).parent)
        for package in packages:
            for path in sorted(package.rglob("*.py")):
                archive.write(path, path.relative_to(package.parent))
    return built(folder, appliance())


@dataclass(frozen=True)
class Reading:
    """What the container has used so far, and the samples of each sensor."""

    usage: Usage
    samples: Mapping[str, float]
    healthy: int

    @classmethod
    def of(cls, pi: Pi) -> Reading:
        """Read the counters of the kernel and of the service."""
        usage = Usage.of(pi.say, "sensors")
        metrics = pi.say("wget -q -O - http://127.0.0.1:9284/metrics || :")
        rows = re.findall(r'^sensors_samples_total\{sensor="(\w+)"\} (\S+)$', metrics, re.M)
        healthy = len(re.findall(r"^sensors_sensor_healthy\{.*\} 1\.0$", metrics, re.M))
        samples = {name: float(count) for name, count in rows if name in sensors()}
        return cls(usage, samples, healthy)


def plug(pi: Pi) -> None:
    """Start the models, and wait until the service measures all."""
    places = " ".join(f"i2c-0:{address:#04x}={chip}" for chip, address in sensors().values())
    pi.say(
        "PYTHONPATH=/usr/lib/chipmodels.zip python3 -m chipmodels.simdaemon "
        f"--control /run/sensors.sock {places} </dev/null >/run/sensors.log 2>&1 & "
        "for n in $(seq 1500); do [ -S /run/sensors.sock ] && exit 0; sleep 0.2; done; exit 1"
    )
    end = time.monotonic() + 600
    while Reading.of(pi).healthy < len(sensors()):
        if time.monotonic() > end:
            raise SystemExit(pi.say("wget -q -O - http://127.0.0.1:9284/healthz || :"))
        time.sleep(5)


def measure(pi: Pi, title: str, seconds: float) -> None:
    """Wait, and print what that cost."""
    before = Reading.of(pi)
    time.sleep(seconds)
    after = Reading.of(pi)
    spent = after.usage.uptime - before.usage.uptime
    busy = before.usage.seconds_in_an_hour(after.usage) / 36
    rates = sorted(
        (after.samples[name] - before.samples[name]) / spent
        for name in sensors()
        if name != UNPLUGGED
    )
    print(
        f"{title}: {busy:.1f} % of a processor, "
        f"{after.usage.resident:.1f} MB resident, {after.usage.group:.1f} MB in its group; samples "
        f"of the other {len(rates)} in a second: {rates[0]:.2f} to {rates[-1]:.2f}; "
        f"{after.healthy} healthy; {spent:.0f} s, load {os.getloadavg()[0]:.1f}",
        flush=True,
    )


FILES: Mapping[str, Mapping[str, str]] = {
    "bh1750": {"in_illuminance_raw": "267", "in_illuminance_scale": "1.2"},
    "sht3x": {"temp1_input": "17250", "humidity1_input": "61500"},
    "ina219": {
        f"in_{name}_{kind}": value
        for name in ("voltage0", "voltage1", "power2", "current3")
        for kind, value in (("raw", "500"), ("scale", "0.01"))
    },
    "ads1015": {
        f"in_voltage{number}_{kind}": value
        for number in range(8)
        for kind, value in (("raw", "500"), ("scale", "3"))
    },
    "bme280": {
        "in_temp_input": "21500",
        "in_pressure_input": "98.765",
        "in_humidityrelative_input": "45000",
    },
    "tcs3472": {
        f"in_intensity_{colour}_raw": "500" for colour in ("clear", "red", "green", "blue")
    },
    "mma8452": {"in_accel_scale": "0.0095"}
    | {f"in_accel_{axis}_raw": "500" for axis in ("x", "y", "z")},
    "srf08": {"in_distance_raw": "73", "in_distance_scale": "0.01"},
}
"""What the drivers of the chips show."""


def measure_files(seconds: int) -> None:
    """Run the service over files; then without those of one chip."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "sys"
        chips = [
            Chip(
                name,
                chip,
                address,
                FILES[chip],
                "hwmon/hwmon0" if chip == "sht3x" else "iio:device0",
            )
            for name, (chip, address) in sensors().items()
        ]
        with serving(folder, make(folder, chips, every=1)) as service:
            for title in ("twenty chips, as files", "one without files"):
                time.sleep(10)
                before = counted(service), service.seconds(), time.monotonic()
                time.sleep(seconds)
                spent = time.monotonic() - before[2]
                busy = (service.seconds() - before[1]) / spent * 100
                now = counted(service)
                rates = sorted((now[n] - before[0][n]) / spent for n in sensors() if n != UNPLUGGED)
                print(
                    f"{title}: {busy:.2f} % of a processor, {service.resident():.1f} MB resident; "
                    f"samples of the other {len(rates)} in a second: {rates[0]:.2f} to "
                    f"{rates[-1]:.2f}; {spent:.0f} s, load {os.getloadavg()[0]:.1f}",
                    flush=True,
                )
                gone = next(chip for chip in chips if chip.name == UNPLUGGED)
                if gone.folder(folder).exists():
                    shutil.rmtree(gone.folder(folder))


def counted(service: Service) -> Mapping[str, float]:
    """Return the samples of each sensor so far."""
    rows = re.findall(
        r'^sensors_samples_total\{sensor="(\w+)"\} (\S+)$', service.get("metrics"), re.M
    )
    return {name: float(count) for name, count in rows}


def main() -> None:
    """Measure both, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=120, help="for each of the two")
    parser.add_argument("--steady", action="store_true", help="time is counted in instructions")
    parser.add_argument("--files", action="store_true", help="here, over files")
    arguments = parser.parse_args()
    seconds = arguments.seconds
    if arguments.files:
        measure_files(seconds)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.steady:
            count_instructions(folder / "bin")
        with up(image(folder), folder) as pi:
            plug(pi)
            time.sleep(20)  # what comes with the start is over
            measure(pi, "twenty chips", seconds)
            address = sensors()[UNPLUGGED][1]
            pi.say(f"{CONTROL} i2c-0:{address:#04x} unplugged=true")
            time.sleep(20)
            measure(pi, "one unplugged", seconds)


if __name__ == "__main__":
    main()
