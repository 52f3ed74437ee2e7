"""A long series of faults from the command line: each is printed and goes into the report."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def options(faults: str, count: int) -> argparse.ArgumentParser:
    """Return the options of a series of `count` faults, whose name is in the plural."""
    parser = argparse.ArgumentParser()
    parser.add_argument(f"--{faults}", type=int, default=count, dest="count")
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--minutes", type=float, default=90)
    parser.add_argument("--report", type=Path, required=True)
    return parser


def record(faults: str, series: Iterable[DataclassInstance], report: Path, minutes: float) -> None:
    """Run a series until it ends or the time is over; the report is whole after each fault."""
    began, found = time.monotonic(), []
    for fault in series:
        found.append(asdict(fault))
        seconds = round(time.monotonic() - began)
        report.write_text(json.dumps({"seconds": seconds, faults: found}, indent=1))
        sys.stdout.write(f"{fault}\n")
        sys.stdout.flush()
        if seconds > minutes * 60:
            break
