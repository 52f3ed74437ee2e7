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
        bool, typer.Option("--all", help="Also show empty loop and memory devices.")
    ] = False,
    json: Json = False,
) -> None:
    """List the disks that can be flashed, and the reason why each of the others is refused."""
    system = System()
    contents = disk_contents(Runner())
    for disk in system.disks():
        refusals = guard.refusals(disk, system)
        if not everything and not disk.size and disk.bus in {"loop", "memory"}:
            continue
        if json:
            put(json_format.dumps(_record(disk, contents[disk.name], refusals)) + "\n")
        else:
            _show(disk, contents[disk.name], refusals)


def _record(disk: Disk, contents: list[str], refusals: list[guard.Refusal]) -> dict[str, object]:
    return {
        "device": disk.device,
        "size": disk.size,
        "model": disk.model,
        "serial": disk.serial,
        "bus": disk.bus,
        "removable": disk.removable,
        "contents": contents,
        "refused": [
            {"code": r.code, "reason": r.reason, "remedy": r.remedy, "forcible": r.forcible}
            for r in refusals
        ],
    }


def _show(disk: Disk, contents: list[str], refusals: list[guard.Refusal]) -> None:
    verdict = "refused" if refusals else "can be flashed"
    description = f"{disk.size / 1e9:8.1f} GB  {disk.bus:8}  {disk.model or '-'}"
    say(f"{disk.device:14} {description}  {verdict}")
    if contents:
        say(f"{'':14}   holds: {', '.join(contents)}")
    for refusal in refusals:
        say(f"{'':14}   {refusal.reason}; {refusal.remedy}")


def disk_contents(runner: Runner) -> dict[str, list[str]]:
    """Return the file systems of each disk by its name: type and label, as udev knows them."""
    listing = runner.run(
        ["lsblk", "--json", "--output", "NAME,FSTYPE,LABEL"], accept=(0, 1, 32, 64)
    )
    contents: dict[str, list[str]] = defaultdict(list)
    for disk in json_format.loads(listing.text or "{}").get("blockdevices", []):
        for part in [disk, *disk.get("children", [])]:
            if part.get("fstype"):
                contents[disk["name"]].append(f"{part['fstype']} {part.get('label') or ''}".strip())
    return contents
