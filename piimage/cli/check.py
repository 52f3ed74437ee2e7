"""`piimage check`: every error of a file at once."""

from __future__ import annotations

import os
import sys

from piimage.cli.options import Files, Sets
from piimage.config.lacks import refuse_lacking
from piimage.config.load import load_all

EXAMPLE = "Example: piimage check pi4.yml --set hostname=greenhouse"


def check(files: Files, sets: Sets = []) -> None:  # typer's way to say "none"
    """Validate FILE... and the container folders it names: every error as file:line:column."""
    appliance = load_all(files, sets, os.environ)
    for remark in refuse_lacking(files, sets, os.environ):
        print(f"warning: {remark}", file=sys.stderr)
    services = len(appliance.services)
    names = " + ".join(str(file) for file in files)
    print(f"{names}: good: {appliance.board}, {services} service{'s' if services != 1 else ''}")
