"""Where Pis are: hosts as ssh names them, and the inventory file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import yaml

from piimage.errors import InputError, PiimageError, raise_all

# None begins with a dash: ssh would take it for an option.
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
    """A Pi: its name for people, and what ssh is told; what is None is left to ssh's own files."""

    name: str
    address: str
    user: str | None = None
    port: int | None = None
    host_key: str | None = None
    """The public key that it must have: ``ssh-ed25519 AAAA…``."""
    engine: str | None = None
    """The socket of its Docker engine, if that is to run the services."""


def parse_host(text: str) -> Host:
    """Return the host that ``[ssh://][USER@]HOST[:PORT]`` names.

    ``docker+ssh://[USER@]HOST[:PORT][/SOCKET]`` names one with a Docker engine. Raises InputError
    ``deploy.bad-host``.
    """
    if text.startswith(_ENGINE):
        where, slash, path = text.removeprefix(_ENGINE).partition("/")
        return replace(parse_host(where), engine=_socket(f"{slash}{path}" if path else _SOCKET))
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
            "deploy.bad-host", f"{text!r} names no host",
            hint="write HOST, USER@HOST, HOST:PORT, or a name of ~/.ssh/config",
        )  # fmt: skip
    return Host(rest, address.strip("[]"), user or None, number or None)


def _socket(path: str) -> str:
    if not _PATH.fullmatch(path):
        raise InputError(
            "deploy.bad-host", f"{path!r} is no path of a socket",
            hint=f"leave it out if the engine's socket is {_SOCKET}",
        )  # fmt: skip
    return path


@dataclass(frozen=True)
class Inventory:
    """The hosts of a file by name, and groups of them."""

    path: Path
    hosts: Mapping[str, Host]
    groups: Mapping[str, tuple[str, ...]]

    def choose(self, names: Sequence[str]) -> tuple[Host, ...]:
        """Return the hosts that `names` (hosts, groups, ``all``) stand for, each once; all if none.

        Raises InputError ``deploy.unknown-host``.
        """
        chosen: dict[str, Host] = {}
        for name in names or ("all",):
            chosen |= {one: self.hosts[one] for one in self._meant(name)}
        return tuple(chosen.values())

    def _meant(self, name: str) -> Sequence[str]:
        if name == "all":
            return tuple(self.hosts)
        if name in self.hosts:
            return (name,)
        if name in self.groups:
            return self.groups[name]
        known = ", ".join([*self.groups, *self.hosts])
        raise InputError(
            "deploy.unknown-host", f"no host and no group is called {name!r}",
            place=str(self.path), hint=f"there are: {known}",
        )  # fmt: skip


def read_inventory(path: Path) -> Inventory:
    """Return what an inventory file says; docs/deploy.md describes it.

    Raises InputError ``deploy.bad-inventory`` for everything that is wrong with it.
    """
    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        said = " ".join(str(error).split())
        raise _bad(path, "", f"it cannot be read: {said}") from None
    errors: list[PiimageError] = []
    if not isinstance(document, dict) or not isinstance(document.get("hosts"), dict):
        raise _bad(path, "", "it has no hosts:")
    hosts: dict[str, Host] = {}
    for name, said in document["hosts"].items():
        try:
            hosts[str(name)] = _host(path, str(name), said)
        except PiimageError as error:
            errors.append(error)
    errors += _unknown(path, "", document, {"hosts", "groups"})
    groups = document.get("groups") or {}
    errors += _bad_groups(path, groups, document["hosts"])
    raise_all(errors)
    if not hosts:
        raise _bad(path, "hosts", "it names no host")
    return Inventory(path, hosts, {name: tuple(members) for name, members in groups.items()})


def _host(path: Path, name: str, said: Any) -> Host:  # noqa: ANN401  # whatever YAML gives
    place = f"hosts.{name}"
    said = {} if said is None else {"address": said} if isinstance(said, str) else said
    if not _NAME.fullmatch(name) or name == "all" or not isinstance(said, dict):
        raise _bad(path, place, "a host is a name and an address, or a name and a mapping")
    raise_all(_unknown(path, place, said, _KEYS))
    try:
        found = parse_host(str(said.get("address", name)))
    except InputError as error:
        raise _bad(path, place, error.message) from None
    user, port, key = (said.get(what) for what in ("user", "port", "host_key"))
    docker = said.get("docker", False)
    if user is not None and not (isinstance(user, str) and _USER.fullmatch(user)):
        raise _bad(path, f"{place}.user", "it is no user's name")
    if port is not None and not (type(port) is int and 0 < port < 65536):
        raise _bad(path, f"{place}.port", "it is no number of 1 to 65535")
    if key is not None and not (isinstance(key, str) and _KEY.fullmatch(key)):
        raise _bad(path, f"{place}.host_key", "it is no public key, such as ssh-ed25519 AAAA…")
    if not (isinstance(docker, bool) or (isinstance(docker, str) and _PATH.fullmatch(docker))):
        raise _bad(path, f"{place}.docker", "it is neither true nor the path of a socket")
    engine = found.engine or (docker if isinstance(docker, str) else _SOCKET if docker else None)
    return Host(name, found.address, user or found.user, port or found.port, key, engine)


def _bad_groups(path: Path, groups: object, hosts: Mapping[Any, Any]) -> Iterator[InputError]:
    if not isinstance(groups, dict):
        yield _bad(path, "groups", "it is no mapping of names to lists of hosts")
        return
    for name, members in groups.items():
        place = f"groups.{name}"
        if not isinstance(members, list) or not isinstance(name, str) or name in {"all", *hosts}:
            yield _bad(path, place, "a group is a list of hosts under a name that no host has")
            continue
        for member in members:
            if member not in hosts:
                yield _bad(path, place, f"there is no host {member!r}")


def _unknown(
    path: Path, place: str, said: Mapping[Any, Any], known: set[str]
) -> Iterator[InputError]:
    for key in said:
        if key not in known:
            what = f"{place}.{key}".strip(".")
            yield _bad(path, what, f"unknown; there are: {', '.join(sorted(known))}")


def _bad(path: Path, where: str, what: str) -> InputError:
    return InputError(
        "deploy.bad-inventory", what, place=f"{path}: {where}" if where else str(path),
        hint="docs/deploy.md has an example",
    )  # fmt: skip
