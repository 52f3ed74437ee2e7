"""`piimage provision`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from getpass import getpass
from pathlib import Path
from typing import Annotated

import typer

from piimage.cli.options import Verbose, with_groups
from piimage.cli.output import listening
from piimage.cli.secret_values import Secrets, read_secrets
from piimage.errors import InputError, raise_all
from piimage.events import Listener, Note, Warning
from piimage.flash import guard, medium
from piimage.flash import provision as provisioning
from piimage.flash.able import (
    Capabilities,
    capabilities_of,
    require_wifi,
    unused_secrets,
    unused_settings,
)
from piimage.flash.provision import Settings, Wifi
from piimage.flash.stored import PATH, Change
from piimage.flash.sysfs import System
from piimage.flash.wired import INTERFACE, Wired
from piimage.run import Runner
from piimage.sshkeys import keys_of

EXAMPLE = "Example: piimage provision /dev/sdX --hostname shed --wifi garden"


@dataclass(frozen=True)
class CardOptions:
    """The options for the settings of one card, of every verb that writes them."""

    hostname: Annotated[str | None, typer.Option("--hostname", help="Host name of this Pi.")] = None
    ssh_keys: Annotated[
        list[str],
        typer.Option(
            "--ssh-key", help="Public key that may log in: a .pub file, or its line; repeatable."
        ),
    ] = field(default_factory=list)
    wifi: Annotated[
        str | None,
        typer.Option(
            "--wifi", metavar="SSID", help="WiFi network to join; prompts for the passphrase."
        ),
    ] = None
    passphrase_file: Annotated[
        Path | None,
        typer.Option(
            "--wifi-passphrase-file",
            help="Read the WiFi passphrase from this file.",
            readable=False,
        ),
    ] = None
    country: Annotated[
        str | None,
        typer.Option(
            "--country", metavar="XX", help="Country where the WiFi radio is used, such as JP."
        ),
    ] = None
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="ADDRESS/PREFIX",
            help="Fixed address of the wired network, or dhcp in place of the image's own.",
        ),
    ] = None
    gateway: Annotated[
        str | None, typer.Option("--gateway", help="Address of the router, with --address.")
    ] = None
    dns: Annotated[
        list[str],
        typer.Option("--dns", help="Address of a name server, with --address; repeatable."),
    ] = field(default_factory=list)
    interface: Annotated[
        str | None,
        typer.Option("--interface", help="Interface of --address (default: eth0)."),
    ] = None
    timezone: Annotated[
        str | None, typer.Option("--timezone", help="Time zone, such as Europe/Vienna.")
    ] = None
    values: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Setting for the containers whose `settings:` name KEY; repeatable.",
        ),
    ] = field(default_factory=list)
    secrets: Secrets = field(default_factory=list)


Unset = Annotated[
    list[str],
    typer.Option("--unset", metavar="KEY", help="Remove this setting; repeatable."),
]


@with_groups
def provision(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="A flashed card.")],
    force: Annotated[
        bool,
        typer.Option("--force", help="Allow NVMe, SATA and eMMC disks, which may be built in."),
    ] = False,
    *,
    options: CardOptions,
    unset: Unset = [],
    verbose: Verbose = False,
) -> None:
    """Write host name, SSH keys, network, time zone, settings and secrets to a flashed card."""
    system = System()
    disk = guard.disk_of(device, system)
    guard.check(disk, system, 0, force=force)
    settings = read_settings(options)
    files = settings.files()
    change = Change(settings.values, tuple(unset))
    _require_distinct(change)
    with (
        listening(verbose=verbose, as_json=False) as emit,
        medium.pinned(device, disk.device_number, disk.sequence) as card,
    ):
        capabilities = capabilities_of(card.path)
        require_wifi(settings, capabilities, device)
        warn_unused(settings, capabilities, emit)
        provisioning.provision(card, Runner(emit), files, change)
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


def warn_unused(settings: Settings, capabilities: Capabilities | None, emit: Listener) -> None:
    """Warn about each setting or secret that no container of the image requests."""
    for name in unused_settings(settings, capabilities):
        emit(Warning(f"no container of the image requests {name} (`settings: [{name}]`)"))
    for name in unused_secrets(settings, capabilities):
        emit(Warning(f"no container of the image requests {name} (`secrets: [{name}]`)"))


def read_settings(options: CardOptions) -> Settings:
    """Return the settings of the options; read key files, and prompt for the passphrase."""
    wifi = options.wifi
    return Settings(
        options.hostname,
        tuple(line for key in options.ssh_keys for line in _keys(key)),
        None if wifi is None else Wifi(wifi, _passphrase(wifi, options.passphrase_file)),
        options.timezone,
        _pairs(options.values),
        options.country,
        _wired(options),
        read_secrets(options.secrets),
    )


def _wired(options: CardOptions) -> Wired | None:
    """Return the wired network; raise InputError ``flash.bad-setting`` for a part of one."""
    interface = options.interface or INTERFACE
    if options.address is not None:
        return Wired(options.address, options.gateway, tuple(options.dns), interface)
    given = {
        "--gateway": options.gateway, "--dns": options.dns, "--interface": options.interface,
    }  # fmt: skip
    raise_all(
        InputError(
            "flash.bad-setting",
            "there is no address for it",
            place=option,
            hint=f"give --address ADDRESS/PREFIX as well, or leave out {option}",
        )
        for option, value in given.items()
        if value
    )
    return None


def _pairs(values: Sequence[str]) -> dict[str, str]:
    raise_all(_not_a_pair(text) for text in values if "=" not in text)
    return {key: value for key, _, value in (text.partition("=") for text in values)}


def _not_a_pair(text: str) -> InputError:
    return InputError(
        "flash.bad-setting",
        f"{text!r} is not KEY=VALUE",
        place="--set",
        hint=f"give a value with --set {text}=VALUE, or an empty value with --set {text}=",
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
            f"there is no terminal for the passphrase of {ssid!r}",
            hint="use --wifi-passphrase-file (with an empty file for an open network)",
        )
    return getpass(f"passphrase of {ssid} (empty for an open network): ") or None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "flash.bad-setting",
            f"the file cannot be read: {error}",
            place=str(path),
            hint="give a readable text file",
        ) from None
