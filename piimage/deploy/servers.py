"""Update servers as inventories: what their management APIs tell of devices. Nothing is changed.

Sources: goosebit 0.2.12, its ``/openapi.json``; the documentation of Eclipse hawkBit, "Management
API", Targets.
"""

from __future__ import annotations

import base64
import http.client
import json
import netrc
import re
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote, urlencode

from piimage.errors import InputError, PiimageError

_ADDRESS: Final = re.compile(
    r"(?P<kind>goosebit|hawkbit)\+(?P<scheme>https?)://(?P<host>[A-Za-z0-9.-]{1,253})"
    r"(:(?P<port>[0-9]{1,5}))?(?P<path>(/[A-Za-z0-9._~-]+)*)/?"
)
_SCHEME: Final = re.compile(r"[a-z]+\+https?://")
_TIMEOUT_S: Final = 30.0
_ANSWER_LIMIT: Final = 64 << 20  # bytes: some ten thousand devices
_PAGE: Final = 500  # targets in one answer of hawkBit, its limit
_MOST: Final = 100_000  # devices


@dataclass(frozen=True)
class Device:
    """What a server knows of a Pi; empty or None for what it does not know."""

    name: str
    board: str
    file: str
    """The name of the YAML file."""
    version: str
    """The version that runs, as the Pi reported it."""
    wanted: str
    """The version that the server wants it to run."""
    state: str
    """The state of its last update, in the server's words."""
    progress: int | None
    """Percent of an update that is going on."""
    seen: int | None
    """Seconds since its last call."""


@dataclass(frozen=True)
class Address:
    """Where a server is, and which API it has."""

    text: str
    kind: str
    scheme: str
    host: str
    port: int
    path: str


def is_server(inventory: str) -> bool:
    """Say whether an inventory is meant to be a server, not a file."""
    return _SCHEME.match(inventory) is not None


def parse_address(text: str) -> Address:
    """Return the address of a server; raises InputError ``deploy.bad-server``."""
    match = _ADDRESS.fullmatch(text)
    port = int(match["port"] or (443 if match["scheme"] == "https" else 80)) if match else 0
    if match is None or not 0 < port < 65536:
        raise InputError(
            "deploy.bad-server", f"{text!r} is not the address of an update server",
            place="--inventory",
            hint="write goosebit+https://HOST[:PORT] or hawkbit+https://HOST[:PORT], without a "
            "password: that is in ~/.netrc",
        )  # fmt: skip
    return Address(text, match["kind"], match["scheme"], match["host"], port, match["path"])


Login = tuple[str, str]


def login_of(address: Address, environment: Mapping[str, str]) -> Login:
    """Return user and password of ``~/.netrc``, or of the file that NETRC names.

    Raises InputError ``deploy.no-login-of-server``.
    """
    path = Path(environment.get("NETRC") or Path(environment.get("HOME", "/")) / ".netrc")
    hint = f"add to it: machine {address.host} login USER password PASSWORD"
    try:
        found = netrc.netrc(path).authenticators(address.host)
    except FileNotFoundError:
        found = None
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            "deploy.no-login-of-server", f"the file cannot be read: {reason}", place=str(path),
            hint=hint,
        ) from None  # fmt: skip
    if found is None or not found[2]:
        raise InputError(
            "deploy.no-login-of-server", f"the file has no login for {address.host}",
            place=str(path), hint=hint,
        )  # fmt: skip
    return found[0], found[2]


class Server(Protocol):
    """A server with devices."""

    def devices(self) -> tuple[Device, ...]:
        """Return its devices, sorted by name.

        Raises PiimageError ``deploy.server`` and ``deploy.server-login``.
        """
        ...


def open_server(address: Address, login: Login, now: Callable[[], float]) -> Server:
    """Return the server at an address; `now` is the time in seconds since 1970."""
    api = _Api(address)
    return Goosebit(api, login) if address.kind == "goosebit" else Hawkbit(api, login, now)


class _Api:
    """JSON over HTTP. A server may not lead elsewhere: the login would travel there."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def ask(self, path: str, headers: Mapping[str, str], form: str | None = None) -> Any:  # noqa: ANN401  # JSON
        """Return the answer to a GET, or to a POST with a form; None if there is no such thing."""
        method = "GET" if form is None else "POST"
        more = {} if form is None else {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            status, data = self._exchange(method, path, {**headers, **more}, form)
        except (OSError, http.client.HTTPException) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise self.error(f"the server cannot be reached: {reason}") from None
        if status in (401, 403):
            raise PiimageError(
                "deploy.server-login", "the server does not accept the login",
                place=self._address.text,
                hint="correct ~/.netrc; the user needs the right to read devices",
            )  # fmt: skip
        if status in (204, 404):
            return None
        if status != 200:
            raise self.error(f"the server answers with status {status}")
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            raise self.error("the server's answer is not JSON") from None

    def _exchange(
        self, method: str, path: str, headers: Mapping[str, str], body: str | None
    ) -> tuple[int, bytes]:
        connection = self._connection()
        try:
            connection.request(method, self._address.path + path, body, dict(headers))
            response = connection.getresponse()
            data = response.read(_ANSWER_LIMIT + 1)
        finally:
            connection.close()
        if len(data) > _ANSWER_LIMIT:
            raise self.error("the server's answer does not end")
        return response.status, data

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._address.host, self._address.port
        if self._address.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_S, context=context)

    def error(self, message: str) -> PiimageError:
        """Return the error for an answer that cannot be used."""
        return PiimageError(
            "deploy.server", message, place=self._address.text,
            hint="check the address and the kind of the server",
        )  # fmt: skip


class Goosebit:
    """goosebit's own REST API."""

    def __init__(self, api: _Api, login: Login) -> None:
        self._api = api
        self._login = login

    def devices(self) -> tuple[Device, ...]:
        """Return its devices; see `Server`."""
        user, password = self._login
        form = urlencode({"username": user, "password": password})
        found = self._api.ask("/login", {}, form)
        token = _text(_mapping(found), "access_token")
        answer = self._api.ask("/api/v1/devices", {"Authorization": f"Bearer {token}"})
        listed = _mapping(answer).get("devices")
        if not isinstance(listed, list):
            raise self._api.error("the server's answer has no devices")
        every = (_of_goosebit(_mapping(entry)) for entry in listed[:_MOST])
        return _sorted(every)


def _of_goosebit(entry: Mapping[str, Any]) -> Device:
    hardware, wanted = _mapping(entry.get("hardware")), _mapping(entry.get("assigned_software"))
    return Device(
        _text(entry, "id"), _text(hardware, "model"), _text(hardware, "revision"),
        _text(entry, "sw_version"), _text(wanted, "version"), _text(entry, "last_state").lower(),
        _number(entry, "progress"), _number(entry, "last_seen"),
    )  # fmt: skip


class Hawkbit:
    """hawkBit's Management API. What a Pi has told of itself takes a request for each Pi."""

    def __init__(self, api: _Api, login: Login, now: Callable[[], float]) -> None:
        self._api = api
        self._now = now
        pair = ":".join(login).encode()
        self._headers = {
            "Authorization": f"Basic {base64.b64encode(pair).decode()}",
            "Accept": "application/hal+json, application/json",
        }

    def devices(self) -> tuple[Device, ...]:
        """Return its targets; see `Server`."""
        return _sorted(self._device(target) for target in self._targets())

    def _targets(self) -> Iterator[Mapping[str, Any]]:
        offset = 0
        while offset < _MOST:
            words = urlencode({"limit": _PAGE, "offset": offset, "sort": "controllerId:ASC"})
            answer = _mapping(self._api.ask(f"/rest/v1/targets?{words}", self._headers))
            listed, total = answer.get("content"), _number(answer, "total")
            if not isinstance(listed, list) or total is None:
                raise self._api.error("the server's answer has no targets")
            yield from map(_mapping, listed)
            offset += len(listed)
            if not listed or offset >= total:
                return

    def _device(self, target: Mapping[str, Any]) -> Device:
        name = _text(target, "controllerId")
        path = f"/rest/v1/targets/{quote(name, safe='')}"
        told = _mapping(self._api.ask(f"{path}/attributes", self._headers))
        assigned = self._wanted(path) if _text(target, "updateStatus") != "in_sync" else ""
        called = _number(target, "lastControllerRequestAt")
        return Device(
            name, _text(told, "hw_boardname"), _text(told, "hw_revision"),
            _text(told, "sw_version"), assigned, _text(target, "updateStatus"), None,
            None if called is None else max(0, round(self._now() - called / 1000)),
        )  # fmt: skip

    def _wanted(self, path: str) -> str:
        """Return the version of the distribution set that the target shall have."""
        return _text(_mapping(self._api.ask(f"{path}/assignedDS", self._headers)), "version")


def _sorted(devices: Iterator[Device]) -> tuple[Device, ...]:
    return tuple(sorted(devices, key=lambda device: device.name))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(entry: Mapping[str, Any], key: str) -> str:
    value = entry.get(key)
    return value[:200] if isinstance(value, str) else ""


def _number(entry: Mapping[str, Any], key: str) -> int | None:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15:
        return None
    return int(value)


def choose(devices: Sequence[Device], names: Sequence[str], place: str) -> tuple[Device, ...]:
    """Return the devices called `names`, or all for ``all``.

    Raises InputError ``deploy.unknown-host``.
    """
    if "all" in names:
        return tuple(devices)
    known = {device.name: device for device in devices}
    for name in names:
        if name not in known:
            raise InputError(
                "deploy.unknown-host", f"no device has the name {name!r}", place=place,
                hint="piimage status all --inventory SERVER lists the devices",
            )  # fmt: skip
    return tuple(known[name] for name in dict.fromkeys(names))


def versions(devices: Sequence[Device]) -> dict[tuple[str, str], int]:
    """Return how many devices run each version of each file, the most common first."""
    counts: dict[tuple[str, str], int] = {}
    for device in devices:
        key = (device.file, device.version)
        counts[key] = counts.get(key, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
