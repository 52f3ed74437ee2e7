"""The page of a fleet: what an update server knows of its devices."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Sequence
from typing import Any

from piimage.cli.hosts import table
from piimage.cli.output import put, say
from piimage.cli.ps import duration
from piimage.deploy.servers import Device, choose, login_of, open_server, parse_address, versions
from piimage.deploy.text import printable

HEADINGS = ["DEVICE", "BOARD", "FILE", "RUNS", "WANTED", "STATE", "LAST CALL"]


def show_server(inventory: str, names: str, *, as_json: bool) -> None:
    """Print the devices `names` (separated by commas, or ``all``) of a server, and their versions.

    Raises the errors of `piimage.deploy.servers`.
    """
    address = parse_address(inventory)
    server = open_server(address, login_of(address, os.environ), time.time)
    found = choose(server.devices(), names.split(","), address.text)
    if as_json:
        put(json.dumps(_document(found), indent=1) + "\n")
        return
    say(table([HEADINGS, *map(_row, found)]))
    rows = [
        [str(count), printable(file) or "-", printable(version) or "-"]
        for (file, version), count in versions(found).items()
    ]
    say("")
    say(table([["DEVICES", "FILE", "VERSION"], *rows]))


def _document(devices: Sequence[Device]) -> dict[str, Any]:
    counts = [
        {"file": file, "version": version, "devices": count}
        for (file, version), count in versions(devices).items()
    ]
    return {"devices": [dataclasses.asdict(device) for device in devices], "versions": counts}


def _row(device: Device) -> list[str]:
    running = device.state not in ("finished", "in_sync", "none", "unknown", "registered", "error")
    percent = f" {device.progress}%" if device.progress is not None and running else ""
    texts = [device.name, device.board, device.file, device.version, device.wanted]
    seen = "never" if device.seen is None else f"{duration(device.seen)} ago"
    return [*(printable(text) or "-" for text in texts), printable(device.state) + percent, seen]
