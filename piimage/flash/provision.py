"""Settings for one card, put onto its data partition without a rebuild.

The Pi reads them from /data/piimage/provision at boot (appliance/README.md): `hostname` and
`timezone` (one line each), `authorized_keys`, `wifi.conf` (a network block of wpa_supplicant) and
`settings` (sh assignments; each container gets those that its `settings:` names). All but the host
name are for root's eyes only.
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
from piimage.card import ext4, partitions
from piimage.card.ext4 import DataFile
from piimage.card.extents import Extent, union
from piimage.config.values import closest
from piimage.errors import InputError, PiimageError, raise_all
from piimage.flash import stored, verify
from piimage.flash.medium import BUFFER, Kept, Medium, buffer
from piimage.run import Runner
from piimage.sshkeys import parse_keys
from piimage.wifi import WANTED, is_passphrase, network
from piimage.zones import zone_names, zone_of

FOLDER: Final = "piimage/provision"
_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(frozen=True)
class Wifi:
    """A network to join; without a passphrase it is open."""

    ssid: str
    passphrase: str | None = field(repr=False)


@dataclass(frozen=True)
class Settings:
    """What one card is told; what is None or empty is left as the image has it."""

    hostname: str | None = None
    ssh_keys: tuple[str, ...] = ()
    wifi: Wifi | None = None
    timezone: str | None = None
    values: Mapping[str, str] = field(default_factory=dict)

    def files(self) -> dict[str, DataFile]:
        """Return the files of the data partition that say so.

        Raises InputError ``flash.bad-setting``, all faults at once.
        """
        raise_all(_faults(self))
        found: dict[str, DataFile] = {}
        if self.hostname is not None:
            found["hostname"] = DataFile(f"{self.hostname}\n".encode())
        if self.ssh_keys:
            keys = [key.line for text in self.ssh_keys for key in parse_keys(text)]
            lines = "".join(f"{line}\n" for line in keys)
            # A key's comment need not be UTF-8.
            found["authorized_keys"] = DataFile(lines.encode("utf-8", "surrogateescape"), 0o600)
        if self.wifi is not None:
            # Asked for by its name, whether it is announced or not: nobody has said.
            text = network(self.wifi.ssid, self.wifi.passphrase, hidden=True)
            found["wifi.conf"] = DataFile(text.encode(), 0o600)
        if self.timezone is not None:
            found["timezone"] = DataFile(f"{zone_of(self.timezone)}\n".encode(), 0o600)
        if self.values:
            found["settings"] = DataFile(stored.encode(self.values), 0o600)
        return {f"{FOLDER}/{name}": file for name, file in found.items()}


def _faults(settings: Settings) -> Iterator[InputError]:
    if settings.hostname is not None and (found := hostname.fault(settings.hostname)):
        yield _bad("--hostname", settings.hostname, f"{found[1]}; this is {found[0]}")
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
    for key, value in settings.values.items():
        if not _KEY.match(key) or any(char < " " and char != "\t" for char in value):
            yield _bad("--set", key, "KEY=VALUE on one line, KEY of letters, digits and _")


def _bad(option: str, what: str, wanted: str) -> InputError:
    return InputError(
        "flash.bad-setting", f"{what!r} is not possible", place=option, hint=f"give {wanted}"
    )


def _key_fault(line: str) -> InputError | None:
    try:
        parse_keys(line)
    except InputError as error:
        return error
    return None


def data_partition(first: bytes, size: int, origin: str) -> partitions.Partition:
    """Return the last partition of a card of `size` bytes by its `first` sector.

    Raises PiimageError ``card.no-table``, ``card.no-data``.
    """
    table = partitions.decode(first[: partitions.SECTOR], size, origin)
    last = table.partitions.get(max(table.partitions, default=0))
    if last is None or last.kind != partitions.LINUX:
        raise PiimageError(
            "card.no-data",
            "the card has no data partition",
            place=origin,
            hint="give a card that `piimage flash` wrote",
        )
    return last


def amend(
    medium: Medium,
    first: bytes,
    mapped: Iterable[Extent],
    runner: Runner,
    files: Mapping[str, DataFile],
) -> None:
    """Put `files` onto the data partition of a card that was just written.

    `first` is the sector that will hold its partition table, `mapped` what was written. The file
    system is altered in a private copy of its used blocks, and what changed is written back: the
    open medium is all that it takes, no root. Raises PiimageError ``card.no-data``,
    ``card.data-full``, ``flash.mismatch``.
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
            hint="free some 70 MB where TMPDIR points, then continue with --resume",
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
                found = buffer()[: piece.size]
                medium.read(piece.start, found)
                os.pwrite(file.fileno(), found, piece.start - data.start)
        ext4.put_files(runner, copy, 0, files)
        with copy.open("rb") as file:
            for piece in _pieces(e.moved(data.start) for e in ext4.used(runner, copy)):
                file.seek(piece.start - data.start)
                _renew(medium, piece, file)


def _pieces(extents: Iterable[Extent]) -> Iterator[Extent]:
    for extent in union(extents, ext4.BLOCK):
        yield from extent.pieces(BUFFER)


def _renew(medium: Medium, piece: Extent, file: BufferedReader) -> None:
    """Write the piece if the medium has other bytes there, and read it again."""
    wanted, found = buffer()[: piece.size], buffer()[: piece.size]
    file.readinto(wanted)
    medium.read(piece.start, found)
    if found == wanted:
        return
    medium.write(piece.start, wanted)
    medium.flush()
    medium.read(piece.start, found)
    if found != wanted:
        raise verify.mismatch(medium, piece, "the card did not keep the settings")


def provision(
    device: Kept,
    runner: Runner,
    files: Mapping[str, DataFile],
    change: stored.Change = stored.UNCHANGED,
) -> None:
    """Put `files` onto the data partition of a card that may have been used since it was flashed.

    Its journal is replayed first, by e2fsck, which takes the device for itself; while the files are
    written, this process has it alone. `change` is applied to the settings that the card has.
    Raises PiimageError ``card.no-data``, ``card.data-full``, DeviceRefused ``flash.held``,
    ``flash.changed``, InputError ``flash.bad-setting``.
    """
    with device.alone() as card:
        first = buffer(1 << 12)
        card.read(0, first)
        data = data_partition(bytes(first), card.size, device.name)
    _replay(device, data, runner)
    with device.alone() as card, _named(device):
        if change:
            content = ext4.read_file(runner, device.path, data.start, stored.PATH) or b""
            files = {**files, stored.PATH: DataFile(change.applied(content), 0o600)}
        ext4.put_files(runner, device.path, data.start, files)
        card.flush()
        card.same()


def _replay(device: Kept, data: partitions.Partition, runner: Runner) -> None:
    # 0: clean, 1: repaired; more is beyond an automatic repair.
    done = runner.run(["e2fsck", "-p", f"{device.path}?offset={data.start}"], accept=range(256))
    if done.status > 1:
        said = done.text.strip().replace(str(device.path), device.name)
        raise PiimageError(
            "card.no-data",
            f"the data partition's file system is damaged: {said}",
            place=device.name,
            hint="flash the card anew; it will not keep its data",
        )


@contextmanager
def _named(device: Kept) -> Iterator[None]:
    """Have errors name the device as the user does."""
    try:
        yield
    except PiimageError as error:
        error.place = device.name
        raise
