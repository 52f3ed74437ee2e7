"""`piimage flash`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from piimage.cli.devices import disk_contents
from piimage.cli.options import Json, Origin, Verbose, with_groups
from piimage.cli.pins import name_to_expect, note_host_key
from piimage.cli.provision import CardOptions, read_settings, warn_unused
from piimage.cli.run import card_image
from piimage.cli.session import open_inputs
from piimage.config.load import load
from piimage.deploy.text import printable
from piimage.errors import DeviceRefused, InputError
from piimage.events import Listener, Note, Warning
from piimage.flash import blockdev, elevate, guard, keep, medium, provision, source, write
from piimage.flash.able import capabilities_of, require_wifi, unset_secrets
from piimage.flash.sysfs import Disk, System
from piimage.flash.udisks import open_by_udisks
from piimage.run import paste, word

EXAMPLE = "Example: piimage flash /dev/sdX pi4.yml --hostname shed --ssh-key ~/.ssh/id_ed25519.pub"

CONTAINER = "PIIMAGE_CONTAINER"
"""The environment variable that piimage's container image sets."""

_UNSET = "the secret {} is not set; its containers do not start without it"
_ERASED = "{} is a card of piimage; its data partition, /data, will be erased: --keep-data keeps it"


@with_groups
def flash(
    device: Annotated[
        str, typer.Argument(metavar="DEVICE", help="The whole disk, such as /dev/sdX.")
    ],
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="YAML files to build, or one image (.img, .xz, .zst, .gz).",
            readable=False,
        ),
    ],
    force: Annotated[
        bool,
        typer.Option("--force", help="Allow NVMe, SATA and eMMC disks, which may be built in."),
    ] = False,
    yes: Annotated[
        str | None,
        typer.Option(
            "--yes",
            metavar="DEVICE",
            help="Skip the confirmation; repeat DEVICE to prove that you mean it.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume an interrupted flash.")] = False,
    keep_data: Annotated[
        bool,
        typer.Option(
            "--keep-data",
            help="Keep the card's /data, if the image has its data partition at the same place.",
        ),
    ] = False,
    *,
    options: CardOptions,
    origin: Origin,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Write an image to a card and verify all of it; build the image first if given YAML files."""
    system = System()
    _require_reachable(device, files)
    disk = guard.disk_of(device, system)
    guard.check(disk, system, 0, force=force)
    settings = read_settings(options)
    data_files = settings.files()
    if keep_data:
        _require_no_settings(data_files)
    with (
        open_inputs(origin, verbose=verbose, as_json=json) as inputs,
        card_image(files, [], inputs) as path,
    ):
        image = source.checked(source.find(path), inputs.runner, inputs.emit)
        capabilities = None if image.packing else capabilities_of(path)
        require_wifi(settings, capabilities, str(files[-1]))
        warn_unused(settings, capabilities, inputs.emit)
        if data_files:
            head = source.first_bytes(image, inputs.runner)
            provision.data_partition(head, image.size or 0, str(files[-1]))
        guard.check(disk, system, image.size or 0, force=force)
        contents = disk_contents(inputs.runner)[disk.name]
        if keep.holds_data(contents) and not keep_data:
            inputs.emit(Warning(_ERASED.format(device)))
        _confirm(disk, device, yes, [] if keep_data else contents)
        mapped = [mapped.extent for mapped in image.ranges()]
        open_device = medium.open_device
        if os.geteuid() != 0 and not os.access(device, os.W_OK):
            openers: list[Callable[[str], int]] = [
                partial(elevate.open_by_sudo, inputs.runner),
                open_by_udisks,
            ]
            # sudo prompts on the terminal; without a terminal, udisks2 can prompt in a window.
            ordered = openers if sys.stdin.isatty() else openers[::-1]
            open_device = partial(elevate.open_by_first_allowed, ordered)
        identity = (disk.device_number, disk.sequence)
        with _interrupted_by_signals(), medium.opened(device, *identity, open_device) as card:
            amend = None
            if data_files:
                amend = lambda card, head: provision.amend(  # noqa: E731
                    card, head, mapped, inputs.runner, data_files
                )
            kept = None
            if keep_data:
                kept = keep.kept_partition(card, image, inputs.runner, resume=resume)
            flashed = write.flash(
                card, image, inputs.runner, inputs.emit, resume=resume, amend=amend, kept=kept
            )
            # Users may not do this; udev then does it when the device is closed.
            blockdev.reread_table(card.descriptor)
            _summarize(flashed, device, inputs.emit)
        for secret in unset_secrets(settings, None if keep_data else capabilities):
            inputs.emit(Note(f"{_UNSET.format(secret)}: piimage secret set HOST {secret}"))
        if files[0].suffix in (".yml", ".yaml"):
            appliance = load(files, [], os.environ)
            note_host_key(appliance, options.hostname, inputs.emit)
            if name := name_to_expect(appliance, options.hostname):
                inputs.emit(Note(f"the Pi will answer to {name}: piimage discover"))


def _require_reachable(device: str, files: Sequence[Path]) -> None:
    """Refuse a device of the computer outside, if piimage runs in its container image.

    Another program has to write the card there: the error names it, and its file.
    """
    if CONTAINER not in os.environ or Path(device).exists():
        return
    image, build = files[-1], ""
    if image.suffix in (".yml", ".yaml"):
        build = f"run `piimage build {paste(files)} -o out`; then "
        image = Path("out", f"{image.stem}.img")
    raise DeviceRefused(
        "flash.in-container",
        "a container cannot reach this computer's card reader",
        place=device,
        hint=f"{build}write {word(image)} with Raspberry Pi Imager: under the operating systems, "
        "choose Use custom",
    )


def _require_no_settings(files: Collection[str]) -> None:
    """Refuse new settings for a data partition that is kept: it has settings of its own."""
    if files:
        raise InputError(
            "flash.kept-settings",
            "--keep-data keeps the card's settings too, so no new ones can be given",
            hint="flash without them, then change them: piimage provision",
        )


def _summarize(flashed: write.Flashed, device: str, emit: Listener) -> None:
    mapped, written, verified = (
        number / 1e6 for number in (flashed.mapped, flashed.written, flashed.verified)
    )
    emit(
        Note(
            f"{device}: {mapped:.1f} MB mapped, {written:.1f} MB written in "
            f"{flashed.write_seconds:.1f} s, {verified:.1f} MB verified in "
            f"{flashed.verify_seconds:.1f} s"
        )
    )
    emit(Note(f"digest {flashed.digest}"))
    emit(Note("the card can be removed"))


def _confirm(disk: Disk, device: str, yes: str | None, contents: list[str]) -> None:
    """Require the user to repeat the device's name before its contents are lost."""
    if yes is not None:
        if yes != device:
            raise InputError(
                "flash.unconfirmed",
                f"--yes names {yes}, but DEVICE is {device}",
                hint="give the same name for both",
            )
        return
    description = f"{disk.size / 1e9:.1f} GB, {disk.bus}, {disk.model or 'no model name'}"
    description += f", holds {', '.join(contents)}" if contents else ""
    if not sys.stdin.isatty():
        raise DeviceRefused(
            "flash.unconfirmed",
            f"everything on the disk ({description}) would be lost, and there is no terminal for "
            "the confirmation",
            place=device,
            hint=f"add --yes {word(device)}",
        )
    question = f"Everything on {device} ({description}) will be lost. Type its name to continue: "
    reply = input(printable(question))
    if reply.strip() not in (device, disk.name, disk.device):
        raise DeviceRefused(
            "flash.unconfirmed",
            "the name that was typed is not that of the device; nothing was written",
            place=device,
            hint="run `piimage devices` to find the card",
        )


@contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """Handle SIGTERM and SIGHUP as Ctrl-C: show a message, and leave the card unbootable."""
    signals = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.default_int_handler) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
