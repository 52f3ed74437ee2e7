"""Addresses of Pis: hosts as ssh names them, and the inventory file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import yaml

from piimage.errors import InputError, PiimageError, raise_all

# No name begins with a dash, which ssh would take for an option.
_HOST: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?\]")
_USER: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_NAME: Final = _USER
_KEY: Final = re.compile(r"(ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/]+=*( .*)?")
_KEYS: Final = {"address", "user", "port", "host_key", "docker"}
_ENGINE: Final = "docker+ssh://"
_SOCKET: Final = "/var/run/docker.sock"
_PATH: Final = re.compile(r"(/[A-Za-z0-9_.-]+)+")


@dataclass(frozen=True)
class Host:
    """A Pi: its name for the user, and options of ssh; for None, ssh's configuration decides."""

    name: str
    address: str
    user: str | None = None
    port: int | None = None
    host_key: str | None = None
    """The pinned public key: ``ssh-ed25519 AAAA…``."""
    engine: str | None = None
    """The socket of its Docker engine, if the engine runs the services."""
    identity: Path | None = None
    """The file of the only private key to log in with."""


def parse_host(text: str) -> Host:
    """Return the host that ``[ssh://][USER@]HOST[:PORT]`` names.

    ``docker+ssh://[USER@]HOST[:PORT][/SOCKET]`` names a host with a Docker engine.
    Raises InputError ``deploy.bad-host``.
    """
    if text.startswith(_ENGINE):
        host, slash, path = text.removeprefix(_ENGINE).partition("/")
        return replace(parse_host(host), engine=_socket(f"{slash}{path}" if path else _SOCKET))
    rest = text.removeprefix("ssh://").removesuffix("/")
    user, at, place = rest.rpartition("@")
    address, port = place, ""
    if not _HOST.fullmatch(place):
        address, _, port = place.rpartition(":")
    number = int(port) if port.isascii() and port.isdigit() else 0
    if (
        not _HOST.fullmatch(address)
        or (at and not _USER.fullmatch(user))
        or (port and not 0 < number < 65536)
        or (place != address and not port)
    ):
        raise InputError(
            "deploy.bad-host", f"{text!r} is not a host",
            hint="write HOST, USER@HOST, HOST:PORT, or a name from ~/.ssh/config",
        )  # fmt: skip
    return Host(rest, address.strip("[]"), user or None, number or None)


def _socket(path: str) -> str:
    if not _PATH.fullmatch(path):
        raise InputError(
            "deploy.bad-host", f"{path!r} is not the path of a socket",
            hint=f"omit the path if the engine's socket is {_SOCKET}",
        )  # fmt: skip
    return path


@dataclass(frozen=True)
class Inventory:
    """The hosts of an inventory file by name, and its groups."""

    path: Path
    hosts: Mapping[str, Host]
    groups: Mapping[str, tuple[str, ...]]

    def choose(self, names: Sequence[str]) -> tuple[Host, ...]:
        """Return the hosts that `names` (hosts, groups, ``all``) stand for, each once; all if none.

        Raises InputError ``deploy.unknown-host``.
        """
        chosen: dict[str, Host] = {}
        for name in names or ("all",):
            chosen |= {member: self.hosts[member] for member in self._members(name)}
        return tuple(chosen.values())

    def _members(self, name: str) -> Sequence[str]:
        if name == "all":
            return tuple(self.hosts)
        if name in self.hosts:
            return (name,)
        if name in self.groups:
            return self.groups[name]
        names = ", ".join([*self.groups, *self.hosts])
        raise InputError(
            "deploy.unknown-host", f"no host or group has the name {name!r}",
            place=str(self.path), hint=f"the file has: {names}",
        )  # fmt: skip


def read_inventory(path: Path) -> Inventory:
    """Read an inventory file; docs/deploy.md describes the format.

    Raises InputError ``deploy.bad-inventory`` for all its errors together.
    """
    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise _bad(path, "", f"the file cannot be read: {reason}") from None
    errors: list[PiimageError] = []
    if not isinstance(document, dict) or not isinstance(document.get("hosts"), dict):
        raise _bad(path, "", "the mapping hosts: is missing")
    hosts: dict[str, Host] = {}
    for name, entry in document["hosts"].items():
        try:
            hosts[str(name)] = _host(path, str(name), entry)
        except PiimageError as error:
            errors.append(error)
    errors += _unknown(path, "", document, {"hosts", "groups"})
    groups = document.get("groups") or {}
    errors += _bad_groups(path, groups, document["hosts"])
    raise_all(errors)
    if not hosts:
        raise _bad(path, "hosts", "the file has no hosts")
    return Inventory(path, hosts, {name: tuple(members) for name, members in groups.items()})


def _host(path: Path, name: str, entry: Any) -> Host:  # noqa: ANN401  # any value of YAML
    place = f"hosts.{name}"
    entry = {} if entry is None else {"address": entry} if isinstance(entry, str) else entry
    if not _NAME.fullmatch(name) or name == "all" or not isinstance(entry, dict):
        raise _bad(path, place, "a host needs a name (not 'all') with an address or a mapping")
    raise_all(_unknown(path, place, entry, _KEYS))
    try:
        host = parse_host(str(entry.get("address", name)))
    except InputError as error:
        raise _bad(path, place, error.message) from None
    user, port, host_key = (entry.get(field) for field in ("user", "port", "host_key"))
    docker = entry.get("docker", False)
    if user is not None and not (isinstance(user, str) and _USER.fullmatch(user)):
        raise _bad(path, f"{place}.user", "not a valid user name")
    if port is not None and not (type(port) is int and 0 < port < 65536):
        raise _bad(path, f"{place}.port", "not a number from 1 to 65535")
    if host_key is not None and not (isinstance(host_key, str) and _KEY.fullmatch(host_key)):
        raise _bad(path, f"{place}.host_key", "not a public key such as ssh-ed25519 AAAA…")
    if not (isinstance(docker, bool) or (isinstance(docker, str) and _PATH.fullmatch(docker))):
        raise _bad(path, f"{place}.docker", "neither true nor the path of a socket")
    engine = host.engine or (docker if isinstance(docker, str) else _SOCKET if docker else None)
    return Host(name, host.address, user or host.user, port or host.port, host_key, engine)


def _bad_groups(path: Path, groups: object, hosts: Mapping[Any, Any]) -> Iterator[InputError]:
    if not isinstance(groups, dict):
        yield _bad(path, "groups", "not a mapping of names to lists of hosts")
        return
    for name, members in groups.items():
        place = f"groups.{name}"
        if not isinstance(members, list) or not isinstance(name, str) or name in {"all", *hosts}:
            yield _bad(
                path,
                place,
                "a group is a list of hosts, with a name that is not a host's and not 'all'",
            )
            continue
        for member in members:
            if member not in hosts:
                yield _bad(path, place, f"the file has no host {member!r}")


def _unknown(
    path: Path, place: str, entry: Mapping[Any, Any], known: set[str]
) -> Iterator[InputError]:
    for key in entry:
        if key not in known:
            yield _bad(
                path, f"{place}.{key}".strip("."), f"unknown key; use: {', '.join(sorted(known))}"
            )


def _bad(path: Path, place: str, message: str) -> InputError:
    return InputError(
        "deploy.bad-inventory", message, place=f"{path}: {place}" if place else str(path),
        hint="docs/deploy.md has an example",
    )  # fmt: skip
