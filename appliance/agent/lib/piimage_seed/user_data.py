"""Reads user-data: a file of cloud-init in the form ``#cloud-config``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from piimage import hostname, sshkeys
from piimage.errors import InputError
from piimage.zones import zone_of
from piimage_seed.document import Document, named, shown
from piimage_seed.settings import Settings
from piimage_seed.tree import Items, Node, Table, Text, Unreadable, decoded, parse

NAME: Final = "user-data"
META: Final = "meta-data"
_HEADER: Final = "#cloud-config"

IGNORED: Final = frozenset({"apt", "keyboard", "locale", "manage_etc_hosts", "manage_resolv_conf"})
"""Keys of things that this system does not have, and whose absence nobody notices."""
IGNORED_OF_USERS: Final = frozenset(
    {"gecos", "groups", "homedir", "lock_passwd", "primary_group", "shell", "sudo"}
)
IGNORED_PACKAGES: Final = frozenset({"avahi-daemon"})
_PASSWORDS: Final = frozenset({"passwd", "hashed_passwd", "plain_text_passwd"})
_KEYS: Final = ("ssh_authorized_keys", "ssh-authorized-keys")
IGNORED_COMMANDS: Final = tuple(
    re.compile(pattern, re.ASCII)
    for pattern in (
        r"systemctl enable --now ssh",
        r"rfkill unblock wifi",
        r"sh -c for f in /var/lib/systemd/rfkill/\*:wlan; do echo 0 > \"\$f\"; done",
        r"sh -c echo '[^']* ALL=\(ALL\) NOPASSWD:ALL' >/etc/sudoers\.d/[\w.-]+",
        r"chmod 0?440 /etc/sudoers\.d/[\w.-]+",
        # Imager 1
        r"sed -i 's/\^\\s\*REGDOMAIN=\\S\*/REGDOMAIN=[A-Z]{2}/' /etc/default/crda \|\| true",
        r"localectl set-x11-keymap \"[\w-]+\" pc105",
        r"setupcon -k --force \|\| true",
    )
)
"""Commands that Imager writes for Raspberry Pi OS, and that change nothing here."""


def read_user_data(data: bytes, settings: Settings) -> list[str]:
    """Add what user-data says to `settings`; return the messages. Raises Unreadable."""
    text = decoded(data)
    if text.split("\n", 1)[0].rstrip() != _HEADER:
        raise Unreadable(f"its first line is not {_HEADER}")
    document = Document(NAME)
    tree = parse(text)
    if tree is not None:
        _UserData(document, settings).read(tree)
    return document.messages


def read_meta_data(data: bytes, settings: Settings) -> list[str]:
    """Add what meta-data says; its host name counts if user-data has none. Raises Unreadable."""
    document = Document(META)
    tree = parse(decoded(data))
    if tree is not None:
        reader = _UserData(document, settings)
        document.table(tree, "", {"local-hostname": reader.take_other_name}, {"instance-id"})
    return document.messages


class _UserData:
    def __init__(self, document: Document, settings: Settings) -> None:
        self._document = document
        self._settings = settings
        self._fqdn: Text | None = None
        self._passwords: list[tuple[Node, str]] = []

    def read(self, tree: Node) -> None:
        takers = {
            "hostname": self._take_hostname,
            "fqdn": self._take_fqdn,
            "timezone": self._take_timezone,
            **dict.fromkeys(_KEYS, self._take_keys),
            "ssh_pwauth": self._take_password_login,
            "user": self._take_user,
            "users": self._take_users,
            "password": self._take_password,
            "packages": self._take_packages,
            "runcmd": self._take_commands,
        }
        self._document.table(tree, "", takers, IGNORED)
        if self._fqdn is not None:
            self.take_other_name(self._fqdn, "fqdn")
        # A password beside a key is what Imager always writes; alone it would be the only way in.
        if not self._settings.keys:
            for node, path in self._passwords:
                self._document.note(node, f"{path}: not used: only SSH keys log in")

    # Name and time zone -------------------------------------------------------------------

    def _take_hostname(self, node: Node, path: str) -> None:
        text = self._document.text(node, path)
        if text is None:
            return
        if fault := hostname.fault(text.value):
            error, instead = fault
            self._document.note(node, f"{path}: {error}; give {instead}")
            return
        self._settings.hostname = text.value

    def _take_fqdn(self, node: Node, path: str) -> None:
        self._fqdn = self._document.text(node, path)

    def take_other_name(self, node: Node, path: str) -> None:
        """Take the first part of a full name as the host name, unless there is one."""
        if self._settings.hostname is None and isinstance(node, Text):
            first = node.value.partition(".")[0]
            self._take_hostname(Text(node.line, first, first.encode()), path)

    def _take_timezone(self, node: Node, path: str) -> None:
        text = self._document.text(node, path)
        if text is None:
            return
        zone = zone_of(text.value)
        if zone is None:
            self._document.note(node, f"{path}: there is no time zone {shown(text.value)}")
            return
        self._settings.timezone = zone

    # Accounts -----------------------------------------------------------------------------

    def _take_keys(self, node: Node, path: str) -> None:
        for text in self._document.texts(node, path):
            try:
                keys = sshkeys.parse_keys(text.value)
            except InputError as error:
                self._document.note(text, f"{path}: {error.message}")
                continue
            for key in keys:
                unknown = sorted(set(key.options) - sshkeys.DROPBEAR_OPTIONS)
                if unknown:
                    self._document.note(
                        text, f"{path}: the SSH server does not know the option {unknown[0]}"
                    )
                elif key.line not in self._settings.keys:
                    self._settings.keys.append(key.line)

    def _take_user(self, node: Node, path: str) -> None:
        if isinstance(node, Text):
            self._add_user(node.value)
            return
        takers = {
            "name": self._take_user_name,
            **dict.fromkeys(_KEYS, self._take_keys),
            **dict.fromkeys(_PASSWORDS, self._take_password),
        }
        self._document.table(node, f"{path}: ", takers, IGNORED_OF_USERS)

    def _take_users(self, node: Node, path: str) -> None:
        if isinstance(node, (Text, Table)):
            node = Items(node.line, [node])
        for item in self._document.items(node, path):
            self._take_user(item, path)

    def _take_user_name(self, node: Node, path: str) -> None:
        text = self._document.text(node, path)
        if text is not None:
            self._add_user(text.value)

    def _add_user(self, name: str) -> None:
        if name not in ("", "default", "root"):
            self._settings.users.append(named(name))

    def _take_password(self, node: Node, path: str) -> None:
        self._passwords.append((node, path))

    def _take_password_login(self, node: Node, path: str) -> None:
        if self._document.flag(node, path):
            self._document.note(node, f"{path}: not supported: only SSH keys log in")

    # What Raspberry Pi OS would do ---------------------------------------------------------

    def _take_packages(self, node: Node, path: str) -> None:
        for item in self._document.items(node, path):
            if not isinstance(item, Text):
                self._document.unsupported(item, path)
            elif item.value not in IGNORED_PACKAGES:
                self._document.unsupported(item, f"{path}: {named(item.value)}")

    def _take_commands(self, node: Node, path: str) -> None:
        """Say how many commands are not run; not which, because a command may contain a secret."""
        items = self._document.items(node, path)
        others = [item for item in items if not _is_harmless(item)]
        if others:
            count = "a command is" if len(others) == 1 else f"{len(others)} commands are"
            self._document.note(others[0], f"{path}: {count} not run")


def _is_harmless(node: Node) -> bool:
    command = " ".join(_words(node))
    return any(pattern.fullmatch(command) for pattern in IGNORED_COMMANDS)


def _words(node: Node) -> Iterator[str]:
    if isinstance(node, Text):
        yield node.value
    elif isinstance(node, Items):
        yield from (item.value for item in node.nodes if isinstance(item, Text))
