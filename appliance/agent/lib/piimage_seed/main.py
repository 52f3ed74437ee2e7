"""Applies the files of a folder, for usr/lib/piimage/user-data.

It prints lines: ``say TEXT`` for the console, and ``remove NAME`` for each file that is not needed
any more. With an exit status other than 0 not all of the settings were written.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from piimage.countries import country_codes
from piimage_seed import card
from piimage_seed.network_config import NAME as NETWORK_CONFIG
from piimage_seed.network_config import read_network_config
from piimage_seed.settings import Settings
from piimage_seed.tree import Unreadable
from piimage_seed.user_data import META, read_meta_data, read_user_data
from piimage_seed.user_data import NAME as USER_DATA

_SETTINGS = "settings of the card"
_MOST_SHOWN = 160  # characters of a line
Reader = Callable[[bytes, Settings], list[str]]


def main(folder: str, root: str = "") -> int:
    """Apply the files in `folder` to the Pi whose root is `root`; return the exit status."""
    try:
        for line in apply(folder, root):
            sys.stdout.write(f"{_printable(line)}\n")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        sys.stdout.write(f"say {_SETTINGS}: they cannot be written: {reason}\n")
        return 1
    except Exception as error:  # noqa: BLE001  # the boot goes on, whatever the files contain
        # The text of the error may be that of a file.
        sys.stdout.write(f"say {_SETTINGS}: internal error {type(error).__name__}\n")
        return 1
    return 0


def apply(folder: str, root: str) -> list[str]:
    """Read the files in `folder`, write the settings below `root`; return the lines to print."""
    seed = _Seed(folder, root)
    seed.read_files()
    if seed.applied and not seed.waiting:
        seed.read_companions()
    if seed.applied:
        seed.write_settings()
    return [*(f"say {text}" for text in seed.messages), *(f"remove {name}" for name in seed.done)]


class _Seed:
    """The files in a folder, and what became of them."""

    def __init__(self, folder: str, root: str) -> None:
        self.messages: list[str] = []
        self.applied: set[str] = set()
        """The digests of the files that are applied at this boot."""
        self.done: list[str] = []
        """The names of the files that can be removed."""
        self.waiting = False
        """A file that cannot be read stays, for somebody to correct it."""
        self._folder = folder
        self._root = root
        self._settings = Settings()
        self._known = card.noted(root)

    def read_files(self) -> None:
        """Read the files that hold settings, unless an earlier boot has applied them."""
        self._read(USER_DATA, read_user_data)
        self._read(NETWORK_CONFIG, self._read_network)
        if self.done and not self.waiting:
            self.done += [META, card.COMMAND_LINE]

    def _read(self, name: str, reader: Reader) -> None:
        data = card.read(f"{self._folder}/{name}")
        if data is None:
            return
        digest = card.digest(data)
        if digest in self._known:
            self.messages.append(f"{name}: was applied before, and is still on the card")
        else:
            try:
                self.messages += reader(data, self._settings)
            except Unreadable as reason:
                self.messages.append(f"{name}: not applied, and stays on the card: {reason}")
                self.waiting = True
                return
            self.applied.add(digest)
        self.done.append(name)

    def _read_network(self, data: bytes, settings: Settings) -> list[str]:
        return read_network_config(data, settings, radio=self._radio)

    @property
    def _radio(self) -> bool:
        return os.path.exists(f"{self._root}/etc/piimage/wifi.conf")

    def read_companions(self) -> None:
        """Take the settings that are used if the others are missing."""
        data = card.read(f"{self._folder}/{META}")
        try:
            self.messages += read_meta_data(data, self._settings) if data is not None else []
        except Unreadable as reason:
            self.messages.append(f"{META}: not applied: {reason}")
        country = card.kernel_country(self._folder)
        if self._settings.country is None and self._radio and country in country_codes():
            self._settings.country = country

    def write_settings(self) -> None:
        """Write the settings, then the note that they are applied."""
        for name, text, mode in self._settings.files():
            path = f"{self._root}/{card.PROVISION}/{name}"
            if text is None:
                card.remove(path)
            else:
                card.write(path, text, mode)
        digests = sorted(self.applied | self._known)
        card.write(f"{self._root}/{card.NOTE}", "".join(f"{x}\n" for x in digests), 0o600)
        if self._settings.dhcp and card.fixed_address(self._root):
            self.messages.append(f"{NETWORK_CONFIG}: the fixed address of the image stays")
        summary = ", ".join(self._settings.summary())
        self.messages.append(f"{_SETTINGS}: {summary or 'none'}")
        if self._settings.keys and self._settings.users:
            users = ", ".join(dict.fromkeys(self._settings.users))
            self.messages.append(f"{_SETTINGS}: log in as root; there is no user {users}")


def _printable(line: str) -> str:
    """Return a line for the console: printable ASCII, of limited length."""
    text = "".join(x if " " <= x <= "~" else "?" for x in line)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."
