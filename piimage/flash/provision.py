"""Writes the settings of one card to its data partition, without a rebuild.

The Pi reads them from /data/piimage/provision at boot (appliance/README.md): `hostname`, `timezone`
and `country` (one line each), `authorized_keys`, `wifi.conf` (a network block of wpa_supplicant),
`network` (sh assignments) and `settings` (the same; each container gets those that its `settings:`
names). `secrets/NAME` is the value of a secret. Only root may read the files, except for the host
name and the country.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Final

from piimage import hostname
from piimage.card import ext4, partitions, tables
from piimage.card.ext4 import DataFile
from piimage.card.extents import Extent, union
from piimage.config.values import closest
from piimage.countries import country_codes
from piimage.errors import InputError, PiimageError, raise_all
from piimage.flash import stored, verify
from piimage.flash.medium import BUFFER, Medium, PinnedDevice, buffer
from piimage.flash.wired import Wired
from piimage.run import Runner
from piimage.sshkeys import parse_keys
from piimage.wifi import WANTED, is_passphrase, network
from piimage.zones import zone_names, zone_of

FOLDER: Final = "piimage/provision"
_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(frozen=True)
class Wifi:
    """A WiFi network to join; an open network has no passphrase."""

    ssid: str
    passphrase: str | None = field(repr=False)


@dataclass(frozen=True)
class Settings:
    """The settings of one card; None or an empty value keeps the setting of the image."""

    hostname: str | None = None
    ssh_keys: tuple[str, ...] = ()
    wifi: Wifi | None = None
    timezone: str | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    country: str | None = None
    wired: Wired | None = None
    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    def files(self) -> dict[str, DataFile]:
        """Return the files of the data partition that hold the settings.

        Raises InputError ``flash.bad-setting`` for all invalid settings at once.
        """
        raise_all(_faults(self))
        files: dict[str, DataFile] = {}
        if self.hostname is not None:
            files["hostname"] = DataFile(f"{self.hostname}\n".encode())
        if self.ssh_keys:
            keys = [key.line for text in self.ssh_keys for key in parse_keys(text)]
            lines = "".join(f"{line}\n" for line in keys)
            # A key's comment need not be UTF-8.
            files["authorized_keys"] = DataFile(lines.encode("utf-8", "surrogateescape"), 0o600)
        if self.wifi is not None:
            # No option says whether the network is hidden; a probe by name finds it in both cases.
            text = network(self.wifi.ssid, self.wifi.passphrase, hidden=True)
            files["wifi.conf"] = DataFile(text.encode(), 0o600)
        if self.timezone is not None:
            files["timezone"] = DataFile(f"{zone_of(self.timezone)}\n".encode(), 0o600)
        if self.country is not None:
            files["country"] = DataFile(f"{self.country}\n".encode())
        if self.wired is not None:
            files["network"] = DataFile(self.wired.text.encode(), 0o600)
        if self.values:
            files["settings"] = DataFile(stored.encode(self.values), 0o600)
        return {f"{FOLDER}/{name}": file for name, file in files.items()} | secret_files(
            self.secrets
        )


def secret_files(secrets: Mapping[str, bytes]) -> dict[str, DataFile]:
    """Return the files of the data partition that hold secrets, for root's eyes only."""
    if not secrets:
        return {}
    folder = f"{FOLDER}/secrets"
    values = {f"{folder}/{name}": DataFile(value, 0o600) for name, value in secrets.items()}
    return {folder: DataFile(None, 0o700), **values}


def _faults(settings: Settings) -> Iterator[InputError]:
    if settings.hostname is not None and (error := hostname.fault(settings.hostname)):
        yield _bad("--hostname", settings.hostname, f"{error[1]}; this is {error[0]}")
    for key in settings.ssh_keys:
        if fault := _key_fault(key):
            yield InputError(fault.code, fault.message, place="--ssh-key", hint=fault.hint)
    if settings.wifi is not None:
        if not 1 <= len(settings.wifi.ssid.encode()) <= 32:
            yield _bad("--wifi", settings.wifi.ssid, "a network name of 1 to 32 bytes")
        phrase = settings.wifi.passphrase
        if phrase is not None and not is_passphrase(phrase):
            yield _bad("--wifi", "the passphrase", WANTED)
    if settings.timezone is not None and zone_of(settings.timezone) is None:
        near = closest(settings.timezone, zone_names()) or "a name such as Europe/Vienna"
        yield _bad("--timezone", settings.timezone, near)
    if settings.country is not None and settings.country not in country_codes():
        yield _bad("--country", settings.country, "two capitals (ISO 3166), such as JP")
    if settings.wired is not None:
        for option, reason, instead in settings.wired.faults():
            yield InputError("flash.bad-setting", reason, place=option, hint=f"give {instead}")
    for key, value in settings.values.items():
        if not _KEY.match(key) or any(char < " " and char != "\t" for char in value):
            yield _bad("--set", key, "KEY=VALUE on one line, with letters, digits and _ in KEY")


def _bad(option: str, value: str, expected: str) -> InputError:
    return InputError(
        "flash.bad-setting", f"{value!r} is not valid", place=option, hint=f"give {expected}"
    )


def _key_fault(line: str) -> InputError | None:
    try:
        parse_keys(line)
    except InputError as error:
        return error
    return None


def data_partition(first: bytes, size: int, origin: str) -> partitions.Partition:
    """Return the last partition of a card of `size` bytes, read from its `first` bytes.

    Raises PiimageError ``card.no-table``, ``card.no-data``.
    """
    table = tables.decode(first, size, origin)
    last = table.partitions.get(max(table.partitions, default=0))
    if last is None or last.kind != partitions.LINUX:
        raise no_data(origin)
    return last


def no_data(origin: str) -> PiimageError:
    """Return the error for a card without a place for settings, such as an ISO on a stick."""
    return PiimageError(
        "card.no-data",
        "the card has no data partition",
        place=origin,
        hint="give a card that `piimage flash` wrote, or the image of one; an ISO has no /data",
    )


def amend(
    medium: Medium,
    first: bytes,
    mapped: Iterable[Extent],
    runner: Runner,
    files: Mapping[str, DataFile],
) -> None:
    """Write `files` to the data partition of a card that was just flashed.

    `first` are the bytes that will hold the partition table, `mapped` the extents that were
    written. The file system is changed in a private copy of its used blocks, and changed blocks are
    written back. That needs only the open medium, not root. Raises PiimageError ``card.no-data``,
    ``card.data-full``, ``flash.mismatch``, ``flash.no-scratch``.
    """
    data = data_partition(first, medium.size, medium.path)
    inside = [
        Extent(max(e.start, data.start), min(e.end, data.end))
        for e in mapped
        if e.start < data.end and data.start < e.end
    ]
    try:
        _amend(medium, data, inside, runner, files)
    except OSError as error:
        raise PiimageError(
            "flash.no-scratch",
            f"the settings could not be prepared on this computer: {error.strerror}",
            place=error.filename and str(error.filename),
            hint="free about 70 MB in the folder of TMPDIR, then continue with --resume",
        ) from error


def _amend(
    medium: Medium,
    data: partitions.Partition,
    inside: Iterable[Extent],
    runner: Runner,
    files: Mapping[str, DataFile],
) -> None:
    with tempfile.TemporaryDirectory(prefix="piimage-") as scratch:
        copy = Path(scratch) / "data"
        with copy.open("xb") as file:
            file.truncate(data.size)
            for piece in _pieces(inside):
                block = buffer()[: piece.size]
                medium.read(piece.start, block)
                os.pwrite(file.fileno(), block, piece.start - data.start)
        ext4.put_files(runner, copy, 0, files)
        with copy.open("rb") as file:
            for piece in _pieces(e.moved(data.start) for e in ext4.used(runner, copy)):
                file.seek(piece.start - data.start)
                _write_changed(medium, piece, file)


def _pieces(extents: Iterable[Extent]) -> Iterator[Extent]:
    for extent in union(extents, ext4.BLOCK):
        yield from extent.pieces(BUFFER)


def _write_changed(medium: Medium, piece: Extent, file: BufferedReader) -> None:
    """Write the piece if the medium holds other bytes, and verify it."""
    expected, actual = buffer()[: piece.size], buffer()[: piece.size]
    file.readinto(expected)
    medium.read(piece.start, actual)
    if actual == expected:
        return
    medium.write(piece.start, expected)
    medium.flush()
    medium.read(piece.start, actual)
    if actual != expected:
        raise verify.mismatch(medium, piece, "the card did not keep the settings")


def provision(
    device: PinnedDevice,
    runner: Runner,
    files: Mapping[str, DataFile],
    change: stored.Change = stored.UNCHANGED,
) -> None:
    """Write `files` to the data partition of a flashed card that may have been in use since.

    First e2fsck, which opens the device exclusively, replays the journal. Then this process opens
    it exclusively and writes the files; `change` is applied to the settings that the card has.
    Raises PiimageError ``card.no-data``, ``card.data-full``, DeviceRefused ``flash.held``,
    ``flash.changed``, InputError ``flash.bad-setting``.
    """
    with device.exclusive() as card:
        first = buffer(1 << 15)  # more than tables.HEAD, in whole pages
        card.read(0, first)
        data = data_partition(bytes(first), card.size, device.name)
    _replay_journal(device, data, runner)
    with device.exclusive() as card, _errors_at(device):
        if change:
            content = ext4.read_file(runner, device.path, data.start, stored.PATH) or b""
            files = {**files, stored.PATH: DataFile(change.applied(content), 0o600)}
        ext4.put_files(runner, device.path, data.start, files)
        card.flush()
        card.require_same_card()


def _replay_journal(device: PinnedDevice, data: partitions.Partition, runner: Runner) -> None:
    # 0: clean, 1: repaired; e2fsck cannot repair more automatically.
    check = runner.run(["e2fsck", "-p", f"{device.path}?offset={data.start}"], accept=range(256))
    if check.status > 1:
        output = check.text.strip().replace(str(device.path), device.name)
        raise PiimageError(
            "card.no-data",
            f"the file system of the data partition is damaged: {output}",
            place=device.name,
            hint="flash the card again; this deletes its data",
        )


@contextmanager
def _errors_at(device: PinnedDevice) -> Iterator[None]:
    """Set the place of errors to the name that the user gave to the device."""
    try:
        yield
    except PiimageError as error:
        error.place = device.name
        raise
