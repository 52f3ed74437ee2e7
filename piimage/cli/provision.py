"""`piimage provision`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from getpass import getpass
from pathlib import Path
from typing import Annotated

import typer

from piimage.cli.options import Verbose
from piimage.cli.output import listening
from piimage.errors import InputError, raise_all
from piimage.events import Listener, Note, Warning
from piimage.flash import guard, medium
from piimage.flash import provision as made
from piimage.flash.able import Able, able, check, unheard
from piimage.flash.provision import Settings, Wifi
from piimage.flash.stored import PATH, Change
from piimage.flash.sysfs import System
from piimage.run import Runner
from piimage.sshkeys import keys_of

EXAMPLE = "Example: piimage provision /dev/sdX --hostname shed --wifi garden"

Hostname = Annotated[str | None, typer.Option("--hostname", help="Name of this Pi.")]
SshKey = Annotated[
    list[str],
    typer.Option("--ssh-key", help="Public key: a .pub file, or its line."),
]
WifiName = Annotated[
    str | None, typer.Option("--wifi", metavar="SSID", help="Network; its passphrase is asked.")
]
WifiFile = Annotated[
    Path | None,
    typer.Option("--wifi-passphrase-file", help="File with the passphrase.", readable=False),
]
Timezone = Annotated[str | None, typer.Option("--timezone", help="Such as Europe/Vienna.")]
Set = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="A setting for containers that ask for it."),
]
Unset = Annotated[
    list[str],
    typer.Option("--unset", metavar="KEY", help="Remove this setting; repeatable."),
]


def provision(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="A card that was flashed.")],
    force: Annotated[
        bool, typer.Option("--force", help="Allow a disk that is not removable.")
    ] = False,
    hostname: Hostname = None,
    ssh_key: SshKey = [],
    wifi: WifiName = None,
    wifi_passphrase_file: WifiFile = None,
    timezone: Timezone = None,
    values: Set = [],
    unset: Unset = [],
    verbose: Verbose = False,
) -> None:
    """Tell a card that is already flashed its name, keys, network and settings."""
    system = System()
    disk = guard.disk_of(device, system)
    guard.check(disk, system, 0, force=force)
    told = settings(hostname, ssh_key, wifi, wifi_passphrase_file, timezone, values)
    files = told.files()
    change = Change(told.values, tuple(unset))
    _require_distinct(change)
    with (
        listening(verbose=verbose, as_json=False) as emit,
        medium.kept(device, disk.device_number, disk.sequence) as card,
    ):
        found = able(card.path)
        check(told, found, device)
        warn_unheard(told, found, emit)
        made.provision(card, Runner(emit), files, change)
        written = {*files, *([PATH] if change else [])}
        emit(Note(f"{device}: {', '.join(sorted(written)) or 'nothing to do'}"))


def _require_distinct(change: Change) -> None:
    """Raise InputError ``flash.bad-setting`` for settings that are both set and removed."""
    raise_all(
        InputError(
            "flash.bad-setting",
            f"{key} is both set and removed",
            place="--unset",
            hint=f"leave out either --set {key}=… or --unset {key}",
        )
        for key in change.unset
        if key in change.values
    )


def warn_unheard(told: Settings, found: Able | None, emit: Listener) -> None:
    """Say which settings are put on the card and asked for by no container."""
    for name in unheard(told, found):
        emit(Warning(f"no container of the image asks for {name} (`settings: [{name}]`)"))


def settings(
    hostname: str | None,
    ssh_keys: Sequence[str],
    wifi: str | None,
    passphrase_file: Path | None,
    timezone: str | None,
    values: Sequence[str],
) -> Settings:
    """Return what the options say, with files read and the passphrase asked for."""
    return Settings(
        hostname,
        tuple(line for key in ssh_keys for line in _keys(key)),
        None if wifi is None else Wifi(wifi, _passphrase(wifi, passphrase_file)),
        timezone,
        _pairs(values),
    )


def _pairs(values: Sequence[str]) -> dict[str, str]:
    raise_all(_no_pair(text) for text in values if "=" not in text)
    return {key: value for key, _, value in (text.partition("=") for text in values)}


def _no_pair(text: str) -> InputError:
    return InputError(
        "flash.bad-setting",
        f"{text!r} is not KEY=VALUE",
        place="--set",
        hint=f"give the value: --set {text}=VALUE; an empty one: --set {text}=",
    )


def _keys(text: str) -> Iterator[str]:
    try:
        yield from (key.line for key in keys_of(text))
    except InputError as error:
        place = f"--ssh-key {error.place}" if error.place else "--ssh-key"
        raise InputError(error.code, error.message, place=place, hint=error.hint) from None


def _passphrase(ssid: str, file: Path | None) -> str | None:
    if file is not None:
        return _read(file).rstrip("\n") or None
    if not sys.stdin.isatty():
        raise InputError(
            "flash.no-passphrase",
            f"nobody can be asked for the passphrase of {ssid!r}",
            hint="give it with --wifi-passphrase-file (an empty file for an open network)",
        )
    return getpass(f"passphrase of {ssid} (empty if it has none): ") or None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "flash.bad-setting",
            f"the file cannot be read: {error}",
            place=str(path),
            hint="give a text file that you may read",
        ) from None
