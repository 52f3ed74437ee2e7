"""`piimage flash`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from piimage.cli.devices import contents
from piimage.cli.options import Json, Origin, Verbose, fetching
from piimage.cli.pins import note_host_key
from piimage.cli.provision import (
    Hostname,
    Set,
    SshKey,
    Timezone,
    WifiFile,
    WifiName,
    settings,
    warn_unheard,
)
from piimage.cli.run import card_image
from piimage.cli.session import sources
from piimage.config.load import load
from piimage.deploy.text import printable
from piimage.errors import DeviceRefused, InputError
from piimage.events import Listener, Note
from piimage.flash import blockdev, elevate, guard, medium, provision, source, write
from piimage.flash.able import able, check
from piimage.flash.sysfs import Disk, System
from piimage.flash.udisks import open_by_udisks
from piimage.run import word

EXAMPLE = "Example: piimage flash /dev/sdX pi4.yml --hostname shed --ssh-key ~/.ssh/id_ed25519.pub"


@fetching
def flash(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="The whole card: /dev/sdX.")],
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="YAML files, or one image (.img, .xz, .zst, .gz).",
            readable=False,
        ),
    ],
    force: Annotated[
        bool, typer.Option("--force", help="Allow a disk that may be built in: NVMe, SATA, eMMC.")
    ] = False,
    yes: Annotated[
        str | None, typer.Option("--yes", metavar="DEVICE", help="Do not ask: its name again.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a flash that was interrupted.")
    ] = False,
    hostname: Hostname = None,
    ssh_key: SshKey = [],
    wifi: WifiName = None,
    wifi_passphrase_file: WifiFile = None,
    timezone: Timezone = None,
    values: Set = [],
    *,
    origin: Origin,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Write a card and read all of it back; build it first if YAML files are given."""
    system = System()
    disk = guard.disk_of(device, system)
    guard.check(disk, system, 0, force=force)
    told = settings(hostname, ssh_key, wifi, wifi_passphrase_file, timezone, values)
    settled = told.files()
    with (
        sources(origin, verbose=verbose, as_json=json) as found,
        card_image(files, [], found) as path,
    ):
        image = source.checked(source.find(path), found.runner, found.emit)
        known = None if image.packing else able(path)
        check(told, known, str(files[-1]))
        warn_unheard(told, known, found.emit)
        guard.check(disk, system, image.size or 0, force=force)
        _confirm(disk, device, yes, contents(found.runner)[disk.name])
        mapped = [mapped.extent for mapped in image.ranges()]
        open_it = medium.open_device
        if os.geteuid() != 0 and not os.access(device, os.W_OK):
            ways: list[Callable[[str], int]] = [
                partial(elevate.open_by_sudo, found.runner),
                open_by_udisks,
            ]
            # sudo asks on the terminal; where there is none, udisks2 has a window to ask in.
            open_it = partial(elevate.open_one_way, ways if sys.stdin.isatty() else ways[::-1])
        shown = (disk.device_number, disk.sequence)
        with _ended_by_signals(), medium.opened(device, *shown, open_it) as card:
            amend = None
            if settled:
                amend = lambda m, head: provision.amend(m, head, mapped, found.runner, settled)  # noqa: E731
            done = write.flash(card, image, found.runner, found.emit, resume=resume, amend=amend)
            blockdev.reread_table(card.descriptor)  # refused to users; udev then does it at the end
            _summarize(done, device, found.emit)
        if files[0].suffix in (".yml", ".yaml"):
            note_host_key(load(files, [], os.environ), hostname, found.emit)


def _summarize(done: write.Flashed, device: str, emit: Listener) -> None:
    sizes = [number / 1e6 for number in (done.mapped, done.written, done.verified)]
    text = "{}: {:.1f} MB mapped, {:.1f} MB written in {:.1f} s, {:.1f} MB read back in {:.1f} s"
    times = (done.write_seconds, done.verify_seconds)
    emit(Note(text.format(device, *sizes[:2], times[0], sizes[2], times[1])))
    emit(Note(f"digest {done.digest}"))
    emit(Note("it can be taken out"))


def _confirm(disk: Disk, device: str, yes: str | None, held: list[str]) -> None:
    """Have the device's name said again before all that is on it (`held`) is lost."""
    if yes is not None:
        if yes != device:
            raise InputError(
                "flash.unconfirmed",
                f"--yes says {yes}, and the device is {device}",
                hint="name the same device twice",
            )
        return
    what = f"{disk.size / 1e9:.1f} GB, {disk.bus}, {disk.model or 'no model name'}"
    what += f", holds {', '.join(held)}" if held else ""
    if not sys.stdin.isatty():
        raise DeviceRefused(
            "flash.unconfirmed",
            f"nobody can be asked whether everything on it ({what}) may go",
            place=device,
            hint=f"add --yes {word(device)}",
        )
    question = f"Everything on {device} ({what}) will be lost. Type its name to go on: "
    answer = input(printable(question))
    if answer.strip() not in (device, disk.name, disk.device):
        raise DeviceRefused(
            "flash.unconfirmed",
            "its name was not typed; nothing was written",
            place=device,
            hint="`piimage devices` lists the cards that are there",
        )


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end it as Ctrl-C does: with a message, and the card unbootable."""
    signals = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.default_int_handler) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
