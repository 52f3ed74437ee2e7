"""What the page of a Pi costs: memory, and processor time in an hour, unseen and in one browser.

On an emulated Pi (virt) beside hello_world, by the control group of the dashboard's container. At
first nobody looks; then somebody asks for what the page in one browser asks for, with a log open.
The processor time is that of an emulated Cortex-A72, which is slower than one of a Pi 4. From the
top of the checkout:

    .venv/bin/python -m bench.page [--minutes N]
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from bench.usage import Usage
from piimage.store import default_root
from tests.system.dashboard.emulated import Page, booted_page

STATE_S, HISTORY_S, LOG_S = 3, 10, 2
"""As in services/dashboard/dashboard/page.js."""


def nobody_looks(page: Page, seconds: float) -> Iterator[int]:
    """Wait."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(1)
        yield 0


def is_seen(page: Page, seconds: float) -> Iterator[int]:
    """Ask as the page does, in time with it; give the number of bytes of each answer."""
    log = f"/api/logs/{quote('hello_world')}"
    cursor = json.loads(page.get(log))["cursor"]
    begin = time.monotonic()
    second = 0
    while second < seconds:
        if second % STATE_S == 0:
            yield len(page.get("/api/state"))
        if second % HISTORY_S == 0:
            yield len(page.get("/api/history"))
        if second % LOG_S == 0:
            answer = page.get(f"{log}?after={quote(str(cursor))}")
            cursor = json.loads(answer)["cursor"]
            yield len(answer)
        second = max(second + 1, int(time.monotonic() - begin))
        time.sleep(max(0.0, begin + second - time.monotonic()))


def main() -> None:
    """Measure both, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=int, default=30, help="for each of the two")
    seconds = parser.parse_args().minutes * 60
    with tempfile.TemporaryDirectory() as name, booted_page(default_root(), Path(name)) as page:
        time.sleep(60)  # what comes with the start is over
        for title, how in (("nobody looks", nobody_looks), ("one browser", is_seen)):
            before = Usage.of(page.say, "dashboard")
            answers = [size for size in how(page, seconds) if size]
            after = Usage.of(page.say, "dashboard")
            hour = before.seconds_in_an_hour(after)
            print(
                f"{title}: {hour:.1f} s of processor in an hour, {after.resident:.1f} MB resident, "
                f"{after.group:.1f} MB in its group, {len(answers)} answers, {sum(answers)} bytes, "
                f"in {after.uptime - before.uptime:.0f} s, load {os.getloadavg()[0]:.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
