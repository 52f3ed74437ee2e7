"""How long it takes from "I have a BH1750" to a graph, and the page of the greenhouse's station.

The first file of docs/sensors.md is built for virt and booted there; a model of the chip is behind
the kernel's own driver. Printed are its lines, and the seconds of the build and from the power to
the value on the page. With --picture, the station of examples/greenhouse boots as well, its values
move for some minutes, and FILE becomes the picture of its page. From the top of the checkout:

    PYTHONPATH=libraries/chipmodels .venv/bin/python -m bench.graph [--picture FILE]
"""

from __future__ import annotations

import argparse
import math
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import yaml

from bench.cards import built_of
from tests.system.boot.conftest import PATIENCE, Pi, up
from tests.system.conftest import ROOT

PORT = 9284
PROMETHEUS = 9090
LUX = 320.0
MINUTES = 3.0
STEP = 4.0  # seconds between two changes of what the models measure
CONTROL = (
    "runc --root /run/containerd/runc/services.linuxkit exec chips /usr/bin/python3 -P -m "
    "chipmodels.control 127.0.0.1:9283"
)


def first_file() -> str:
    """Return the first YAML block of the page."""
    text = (ROOT / "docs/sensors.md").read_text()
    found = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert found
    return found[1]


def models() -> dict[str, object]:
    """Return what stands for the wires: the module and the models of the greenhouse's station."""
    virt: dict[str, object] = yaml.safe_load((ROOT / "examples/greenhouse/virt.yml").read_text())
    return {name: virt[name] for name in ("board", "modules", "services")}


def build(folder: Path, *files: str) -> Path:
    """Build a card, and print how long that took."""
    start = time.monotonic()
    image = built_of(folder, *files)
    print(f"build of {' and '.join(files)}: {time.monotonic() - start:.1f} s", flush=True)
    return image


def fetch(pi: Pi, path: str, port: int = PORT) -> str:
    """Return what a server of the Pi says; empty while it says nothing."""
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{pi.ports[port]}{path}", timeout=20
        ) as found:
            return str(found.read(), "utf-8")
    except OSError:
        return ""


def wait_for(pi: Pi, pattern: str, path: str = "/metrics", port: int = PORT) -> str:
    """Return what was found in an answer of the Pi."""
    end = time.monotonic() + PATIENCE
    while not (found := re.search(pattern, fetch(pi, path, port), re.MULTILINE)):
        if time.monotonic() > end:
            raise SystemExit(f"{path} never had {pattern}")
        time.sleep(0.5)
    return found[0]


def window(folder: Path) -> None:
    """Build and boot the file of the page."""
    text = first_file()
    print(f"{len(text.splitlines())} lines of YAML, of which 2 name the sensor and its service")
    shutil.copytree(ROOT / "kernel-modules/sensor-sim", folder / "sensor-sim")
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "user"], check=True
    )
    text = text.replace("~/.ssh/id_ed25519.pub", "user.pub").replace("board: pi4\n", "")
    (folder / "window.yml").write_text(text)
    (folder / "virt.yml").write_text(yaml.safe_dump(models()))
    image = build(folder, "window.yml", "virt.yml")
    start = time.monotonic()
    with up(image, folder, (PORT,)) as pi:
        print(f"power to a shell: {time.monotonic() - start:.1f} s", flush=True)
        found = wait_for(pi, r'^sensors_illuminance_lux\{sensor="window"\} .*$')
        print(f"power to the value: {time.monotonic() - start:.1f} s: {found}", flush=True)
        wait_for(pi, r'"points": ?\[\[', "/api/history")
        print(f"power to the graph: {time.monotonic() - start:.1f} s", flush=True)


def station(folder: Path, picture: Path) -> None:
    """Build and boot the station, move its values, and take the picture."""
    shutil.copytree(ROOT / "examples/greenhouse", folder, dirs_exist_ok=True)
    shutil.copytree(ROOT / "kernel-modules/sensor-sim", folder / "sensor-sim")
    image = build(folder, "station.yml", "virt.yml")
    with up(image, folder, (PORT, PROMETHEUS)) as pi:
        wait_for(pi, r'sensor="window"\} 320')
        begin = time.monotonic()
        while (now := time.monotonic() - begin) < MINUTES * 60:
            turn = 2 * math.pi * now / (MINUTES * 60)
            air = (
                f"source.temperature_celsius={21.5 - 4 * math.cos(turn):.2f} "
                f"source.humidity_percent={55 + 12 * math.cos(turn):.1f} "
                f"source.pressure_pascals={98765 + 60 * math.sin(turn / 2):.0f}"
            )
            light = f"lux={max(2.0, 4000 * math.sin(turn / 2) ** 2):.0f}"
            pi.say(f"{CONTROL} i2c-0:0x76 {air}; {CONTROL} i2c-0:0x23 {light}")
            time.sleep(STEP)
        url = f"http://127.0.0.1:{pi.ports[PORT]}/"
        program = shutil.which("chromium") or shutil.which("chromium-browser")
        assert program, "chromium is not installed: apt-get install chromium"
        subprocess.run(
            [program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             "--window-size=1000,760", "--virtual-time-budget=20000",
             f"--user-data-dir={folder / 'profile'}", f"--screenshot={picture}", url],
            check=True, capture_output=True, timeout=300,
        )  # fmt: skip
        query = "/api/v1/query?query=count_over_time(sensors_temperature_celsius[10m])"
        print("Prometheus:", fetch(pi, query, PROMETHEUS))


def main() -> None:
    """Measure, and take the picture if it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--picture", type=Path, metavar="FILE", help="PNG of the station's page")
    picture = parser.parse_args().picture
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("window", "station"):
            (folder / part).mkdir()
        window(folder / "window")
        print(f"load {os.getloadavg()[0]:.1f}", flush=True)
        if picture is not None:
            station(folder / "station", picture.resolve())


if __name__ == "__main__":
    main()
