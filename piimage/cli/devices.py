"""`piimage devices`."""

from __future__ import annotations

import json as json_format
from collections import defaultdict
from typing import Annotated

import typer

from piimage.cli.options import Json
from piimage.cli.output import put, say
from piimage.flash import guard
from piimage.flash.sysfs import Disk, System
from piimage.run import Runner

EXAMPLE = "Example: piimage devices"


def devices(
    everything: Annotated[
        bool, typer.Option("--all", help="Show empty loop and memory devices too.")
    ] = False,
    json: Json = False,
) -> None:
    """List the cards that could be flashed, and say why other disks are refused."""
    system = System()
    held = contents(Runner())
    for disk in system.disks():
        refused = guard.refusals(disk, system)
        if not everything and not disk.size and disk.bus in {"loop", "memory"}:
            continue
        if json:
            put(json_format.dumps(_record(disk, held[disk.name], refused)) + "\n")
        else:
            _show(disk, held[disk.name], refused)


def _record(disk: Disk, held: list[str], refused: list[guard.Refusal]) -> dict[str, object]:
    return {
        "device": disk.device,
        "size": disk.size,
        "model": disk.model,
        "serial": disk.serial,
        "bus": disk.bus,
        "removable": disk.removable,
        "contents": held,
        "refused": [
            {"code": r.code, "reason": r.reason, "remedy": r.remedy, "forcible": r.forcible}
            for r in refused
        ],
    }


def _show(disk: Disk, held: list[str], refused: list[guard.Refusal]) -> None:
    verdict = "refused" if refused else "can be flashed"
    what = f"{disk.size / 1e9:8.1f} GB  {disk.bus:8}  {disk.model or '-'}"
    say(f"{disk.device:14} {what}  {verdict}")
    if held:
        say(f"{'':14}   holds: {', '.join(held)}")
    for one in refused:
        say(f"{'':14}   {one.reason}; {one.remedy}")


def contents(runner: Runner) -> dict[str, list[str]]:
    """Return, for each disk's name, the file systems on it with their labels, as udev knows."""
    done = runner.run(["lsblk", "--json", "--output", "NAME,FSTYPE,LABEL"], accept=(0, 1, 32, 64))
    found: dict[str, list[str]] = defaultdict(list)
    for disk in json_format.loads(done.text or "{}").get("blockdevices", []):
        for part in [disk, *disk.get("children", [])]:
            if part.get("fstype"):
                found[disk["name"]].append(f"{part['fstype']} {part.get('label') or ''}".strip())
    return found
