"""Takes the settings of a machine from its cloud's metadata service, for `use: cloud-metadata`.

Only the host name, the SSH keys and the user data are asked for: no credentials. Sources: Amazon,
"Instance metadata service" (version 2: a token first, which every request carries; categories of
metadata). OpenStack and others have the same paths without a token.
"""

from __future__ import annotations

import http.client
import os
import re
import socket
import sys
import time

from piimage import hostname, sshkeys
from piimage.errors import InputError
from piimage_seed import card
from piimage_seed.document import shown
from piimage_seed.settings import Settings
from piimage_seed.tree import MOST_BYTES, Unreadable
from piimage_seed.user_data import NAME as USER_DATA
from piimage_seed.user_data import read_user_data

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ADDRESS = "169.254.169.254:80"
"""Where every cloud has its metadata service, which only the machine itself can reach."""
FOLDER = "run/piimage/cloud"
"""Where containers find the user data."""
_TITLE = "cloud-metadata"
_PATIENCE_S = 20.0  # for the service to answer at all
_PAUSE_S = 0.5
_ANSWER_S = 5.0
_TOKEN_S = "60"  # noqa: S105  # it is a time
_TOKEN = re.compile(rb"[!-~]{1,256}")
_NO_TOKENS = frozenset({403, 404, 405, 501})
"""What a service answers that knows no tokens."""
_MOST_KEYS = 32


class Unreachable(Exception):
    """The metadata service does not answer."""


class Service:
    """A metadata service at HOST:PORT. Raises Unreachable."""

    def __init__(self, address: str, patience: float = _PATIENCE_S) -> None:
        self._address = address
        self._headers: dict[str, str] = {}
        self._begin(time.monotonic() + patience)

    def get(self, path: str) -> bytes | None:
        """Return what the service has below /latest; None if it has nothing there."""
        status, content = self._ask("GET", f"/latest/{path}", self._headers)
        if status == http.client.OK:
            return content
        if status == http.client.NOT_FOUND:
            return None
        raise Unreachable(f"it answers with status {status}")

    def _begin(self, deadline: float) -> None:
        """Get a token, as soon as the service can be reached; some services have none."""
        wanted = {"X-aws-ec2-metadata-token-ttl-seconds": _TOKEN_S}
        while True:
            try:
                status, token = self._ask("PUT", "/latest/api/token", wanted)
                break
            except Unreachable:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(_PAUSE_S)
        if status == http.client.OK and _TOKEN.fullmatch(token):
            self._headers = {"X-aws-ec2-metadata-token": token.decode()}
        elif status not in _NO_TOKENS:
            raise Unreachable(f"it gives no token (status {status})")

    def _ask(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        host, _, port = self._address.rpartition(":")
        try:
            connection = http.client.HTTPConnection(host, int(port), timeout=_ANSWER_S)
            try:
                connection.request(method, path, headers=dict(headers))
                response = connection.getresponse()
                return response.status, response.read(MOST_BYTES + 1)
            finally:
                connection.close()
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise Unreachable(str(reason)) from None


def main(root: str = "", environment: Mapping[str, str] = os.environ) -> int:
    """Apply what the metadata service says to the machine whose root is `root`.

    A machine without such a service keeps its settings. Returns the exit status: 1 if not all of
    the settings were written.
    """
    address = environment.get("METADATA_ADDRESS") or ADDRESS
    try:
        lines = list(_apply(Service(address), root))
    except Unreachable as reason:
        lines = [f"no answer from {address}, nothing is changed: {reason}"]
    except OSError as error:
        _print([f"the settings cannot be written: {error.strerror or type(error).__name__}"])
        return 1
    _print(lines)
    return 0


def _print(lines: list[str]) -> None:
    for line in lines:
        text = "".join(x if " " <= x <= "~" else "?" for x in line)
        sys.stdout.write(f"{_TITLE}: {text}\n")


def _apply(service: Service, root: str) -> Iterator[str]:
    """Read everything, then write the settings; yield what a person should know."""
    settings = Settings()
    data = service.get(USER_DATA)
    if data is not None:
        yield from _user_data(data, settings)
    yield from _keys(service, settings)
    if settings.hostname is None:
        yield from _name(service.get("meta-data/local-hostname"), settings)
    for name, text, mode in settings.files():
        if text is not None:
            card.write(f"{root}/{card.PROVISION}/{name}", text, mode)
    if data is not None:
        _keep(f"{root}/{FOLDER}", data)
    if settings.hostname is not None:
        yield from _set_hostname(settings.hostname)
    yield f"settings: {', '.join(settings.summary()) or 'none'}"


def _user_data(data: bytes, settings: Settings) -> Iterator[str]:
    """Read user data in cloud-init's form; any other is only kept for containers."""
    if not data.startswith(b"#cloud-config"):
        yield f"{USER_DATA}: it is no #cloud-config, and only kept for containers"
        return
    try:
        yield from read_user_data(data, settings)
    except Unreadable as reason:
        yield f"{USER_DATA}: not applied: {reason}"


def _keys(service: Service, settings: Settings) -> Iterator[str]:
    """Read the keys: the list has lines NUMBER=NAME, and each key is a file of its own."""
    listed = (service.get("meta-data/public-keys/") or b"").decode("ascii", "replace").split()
    for line in listed[:_MOST_KEYS]:
        number = line.partition("=")[0]
        if not number.isdecimal():
            continue
        content = service.get(f"meta-data/public-keys/{number}/openssh-key") or b""
        try:
            keys = sshkeys.parse_keys(content.decode("utf-8", "replace"))
        except InputError as error:
            yield f"public key {number}: {error.message}"
            continue
        settings.keys += [key.line for key in keys if key.line not in settings.keys]


def _name(content: bytes | None, settings: Settings) -> Iterator[str]:
    """Take the first part of the machine's full name."""
    name = (content or b"").decode("ascii", "replace").strip().partition(".")[0]
    if not name:
        return
    if fault := hostname.fault(name):
        yield f"host name {shown(name)}: {fault[0]}"
        return
    settings.hostname = name


def _keep(folder: str, data: bytes) -> None:
    os.makedirs(folder, 0o755, exist_ok=True)
    handle = os.open(
        f"{folder}/{USER_DATA}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600
    )
    with open(handle, "wb") as file:
        file.write(data)


def _set_hostname(name: str) -> Iterator[str]:
    try:
        socket.sethostname(name)
    except OSError as error:
        yield f"the host name counts from the next boot on: {error.strerror}"
