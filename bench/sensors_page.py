"""Take the picture of the page of `sensors`, with the chips of the greenhouse's station.

The service runs on this computer, over files that move for some minutes as the values of a morning.
From the top of the checkout, with chromium installed:

    .venv/bin/python -m bench.sensors_page docs/images/page-sensors.png
"""

from __future__ import annotations

import argparse
import math
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from bench.kernel_files import Chip, make, serving

SECONDS = 180.0
AIR = "air"
WINDOW = "window"


def morning(part: float) -> Mapping[str, Mapping[str, str]]:
    """Return the files of each chip at a part of the time, 0 to 1."""
    warmth = (1 - math.cos(math.pi * part)) / 2
    light = 8000 * warmth**2 * (1 - 0.35 * max(0.0, math.sin(16 * part)))
    return {
        AIR: {
            "in_temp_input": f"{14200 + 9000 * warmth:.0f}",
            "in_pressure_input": f"{101.32 - 0.08 * part:.5f}",
            "in_humidityrelative_input": f"{82000 - 31000 * warmth:.0f}",
        },
        WINDOW: {"in_illuminance_raw": f"{5 + light / 0.83:.0f}", "in_illuminance_scale": "0.83"},
    }


def main() -> None:
    """Take the picture."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("picture", type=Path, metavar="FILE", help="PNG to write")
    picture = parser.parse_args().picture.resolve()
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise SystemExit("chromium is not installed: apt-get install chromium")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "sys"
        first = morning(0)
        chips = (
            Chip(AIR, "bme280", 0x76, first[AIR]),
            Chip(WINDOW, "bh1750", 0x23, first[WINDOW]),
        )
        with serving(folder, make(folder, chips, every=1)) as service:
            start = time.monotonic()
            while (now := time.monotonic() - start) < SECONDS:
                values = morning(now / SECONDS)
                for chip in chips:
                    chip.write(folder, values[chip.name])
                time.sleep(0.5)
            subprocess.run(
                [program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                 "--window-size=1000,600", "--virtual-time-budget=4000",
                 f"--user-data-dir={name}/profile", f"--screenshot={picture}", service.url],
                check=True, capture_output=True, timeout=120,
            )  # fmt: skip


if __name__ == "__main__":
    main()
