"""A sample of our drivers beside the ecosystem's: transfers, time on the bus, time in all, CPU.

    python bench/sensors.py

The same models answer all of them, in virtual time: transfers and milliseconds are exact and the
same on every machine; the CPU column, models included, is this machine's. A bus of 100 kHz; a
driver's own waits count. Ours reads and compares the control registers in the same burst.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = (".", "libraries/sensorkit", "libraries/sensorkit/tests", "libraries/chipmodels")
sys.path[:0] = [str(ROOT / folder) for folder in FOLDERS]

from tests.system.sensorkit.costs import all_costs  # noqa: E402 -- from the paths just set


def main() -> None:
    print("| chip | driver | transfers | bus ms | total ms | CPU us |")
    print("|---|---|--:|--:|--:|--:|")
    for (chip, driver), cost in all_costs().items():
        times = f"{cost.bus_ms:.2f} | {cost.total_ms:.2f} | {cost.cpu_us:.0f}"
        print(f"| {chip} | {driver} | {cost.transfers} | {times} |")


if __name__ == "__main__":
    main()
