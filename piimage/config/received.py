"""Files from a URL or from standard input: kept in a folder, as if they were written there.

So such a build has a place for its lock, its messages name lines, and it can be repeated without
the network. A file from elsewhere names no files and no variables of this machine: it could put a
private key into an image that is then published.
"""

from __future__ import annotations

import hashlib
import os
import re
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Final
from urllib.error import HTTPError
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from piimage.config.paths import APPLIANCE_PATHS
from piimage.document.document import VARIABLES, parse_document
from piimage.document.nodes import MAX_BYTES, ListNode, MapNode, Node, ScalarNode
from piimage.durable import write_chunks
from piimage.errors import InputError, raise_all
from piimage.store import Store

STANDARD_INPUT: Final = "-"
_NAME_OF_INPUT: Final = "stdin"
_SECONDS: Final = 30.0
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_DIGEST: Final = re.compile(r"sha256=([0-9a-f]{64})")
_SCHEMES: Final = ("http", "https")
_RECORDS: Final = "received"


@dataclass(frozen=True)
class Given:
    """What the command line says besides the files: the values of `--set`, and `--name`."""

    sets: Sequence[str] = ()
    name: str | None = None


def is_received(source: str) -> bool:
    """Tell whether `source` is standard input or a URL, and not the path of a file."""
    return source == STANDARD_INPUT or "://" in source


def received(
    sources: Sequence[str], given: Given, store: Store, stdin: IO[bytes], folder: Path
) -> tuple[Path, ...]:
    """Return the path of each of `sources`; what is no file is kept as ``NAME.yml`` in `folder`.

    The name is the last part of a URL, or else `given`, if that can mean one file only.
    Raises InputError ``received.address``, ``received.name``, ``received.fetch``,
    ``received.too-big``, ``received.digest``, ``received.kept``, and an ErrorGroup of
    ``received.local`` for what a file from a URL takes from this machine.
    """
    if given.name is not None:
        _checked(given.name, "--name")
    if sum(map(is_received, sources)) > 1:
        given = replace(given, name=None)
    if sources.count(STANDARD_INPUT) > 1:
        raise InputError(
            "received.address", "standard input is named twice", place=STANDARD_INPUT,
            hint="name it once",
        )  # fmt: skip
    return tuple(
        _path(source, given, store, stdin, folder) if is_received(source) else Path(source)
        for source in sources
    )


def _path(source: str, given: Given, store: Store, stdin: IO[bytes], folder: Path) -> Path:
    if source == STANDARD_INPUT:
        target = folder / f"{_checked(given.name or _NAME_OF_INPUT, source)}.yml"
        data = _bounded(stdin.read, source)
    else:
        address = _address(source)
        target = folder / f"{_checked(given.name or _name_in(address.url), source)}.yml"
        data = fetch(address)
        raise_all(_taken(data, str(target), given.sets))
    _keep(target, data, store)
    return target


def _checked(name: str, source: str) -> str:
    if not _NAME.fullmatch(name):
        raise InputError(
            "received.name",
            f"{name!r} is no name for a file, its lock and its image",
            place=_shown(source),
            hint="give one of letters, digits, '-', '_' and '.': --name NAME",
        )
    return name


# URLs ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Address:
    """A URL that may be fetched, and the SHA-256 of what is expected there, if it is known."""

    url: str
    sha256: str | None

    @property
    def shown(self) -> str:
        """The URL for messages, without a password."""
        return _shown(self.url)


def _address(source: str) -> Address:
    parts = urlsplit(source)
    pin = _DIGEST.fullmatch(parts.fragment)
    if parts.scheme not in _SCHEMES or not parts.hostname or (parts.fragment and not pin):
        raise _no_address(
            source, "this is not the URL of a file", "write https://HOST/PATH/NAME.yml, or with "
            "the digest of the file https://HOST/PATH/NAME.yml#sha256=DIGEST",
        )  # fmt: skip
    if parts.scheme == "http" and not pin:
        raise _no_address(
            source,
            "anybody between here and the server can change what plain HTTP brings",
            "use https, or add the digest of the file: #sha256=DIGEST",
        )
    return Address(urlunsplit(parts._replace(fragment="")), pin[1] if pin else None)


def _no_address(source: str, message: str, hint: str) -> InputError:
    return InputError("received.address", message, place=_shown(source), hint=hint)


def _shown(source: str) -> str:
    parts: SplitResult = urlsplit(source)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _name_in(url: str) -> str:
    last = unquote(urlsplit(url).path).rpartition("/")[2]
    return last.removesuffix(".yml").removesuffix(".yaml")


class _Redirections(urllib.request.HTTPRedirectHandler):
    """Follows redirections, but none from HTTPS to what anybody can change."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str,
        headers: HTTPMessage, newurl: str,
    ) -> urllib.request.Request | None:  # fmt: skip
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
            raise OSError(f"it redirects from https to {urlsplit(newurl).scheme}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch(address: Address) -> bytes:
    """Return the file at `address`.

    Raises InputError ``received.fetch``, ``received.too-big``, ``received.digest``.
    """
    opener = urllib.request.build_opener(_Redirections())
    try:
        with opener.open(address.url, timeout=_SECONDS) as response:
            data = _bounded(response.read, address.shown)
    except (OSError, HTTPException, ValueError) as error:
        # An HTTPError's text has the status; an URLError's own is longer than its reason.
        reason = error if isinstance(error, HTTPError) else getattr(error, "reason", error)
        raise InputError(
            "received.fetch",
            f"the file cannot be fetched ({reason})",
            place=address.shown,
            hint="check the URL and the network, or fetch it yourself and name the file",
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if address.sha256 not in (None, found):
        raise InputError(
            "received.digest",
            f"the file has the SHA-256 {found}, which is not the expected one",
            place=address.shown,
            hint="it was changed: look at it before you give its new digest",
        )
    return data


def _bounded(read: Callable[[int], bytes], place: str) -> bytes:
    data = read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise InputError(
            "received.too-big",
            f"it has more than {MAX_BYTES} bytes, the limit of a YAML file",
            place=_shown(place),
            hint="check that it is the file, and not a page about it",
        )
    return data


# What a file from elsewhere may not take ------------------------------------------------------


def _taken(data: bytes, source: str, sets: Sequence[str]) -> Iterator[InputError]:
    """Give an error for each file and each variable of this machine that the file names."""
    root = parse_document(data, source)[0].root
    for path, change in APPLIANCE_PATHS.items():
        for scalar in _scalars(root, path):
            # A key or a word that is no path stays as it is.
            if scalar.text.startswith("/") or change(scalar.text, source) != scalar.text:
                yield InputError(
                    "received.local",
                    f"a file from a URL takes no file of this machine ({scalar.text})",
                    place=str(scalar.at),
                    hint="fetch the file, read it, and build it by its name",
                )
    given = {text.partition("=")[0] for text in sets}
    for scalar in _scalars(root, (VARIABLES, "*")):
        if scalar.text not in given:
            yield InputError(
                "received.local",
                f"a file from a URL takes no variable of this machine ({scalar.text})",
                place=str(scalar.at),
                hint=f"give the value: --set {scalar.text}=VALUE",
            )


def _scalars(node: Node, path: Sequence[str]) -> Iterator[ScalarNode]:
    """Give the scalars at `path`, in which ``*`` stands for any item."""
    match node:
        case ScalarNode() if not path and node.text:
            yield node
        case MapNode() if path:
            for key, value in node.items.items():
                if path[0] in (key, "*"):
                    yield from _scalars(value, path[1:])
        case ListNode() if path and path[0] == "*":
            for item in node.items:
                yield from _scalars(item, path[1:])


# The file that is kept ------------------------------------------------------------------------


def _keep(target: Path, data: bytes, store: Store) -> None:
    """Write `target`; replace it only if nobody has changed what an earlier build wrote there."""
    place = os.fsencode(target.absolute())
    record = store.root / _RECORDS / hashlib.sha256(place).hexdigest()
    digest = hashlib.sha256(data).hexdigest()
    present = target.read_bytes() if target.is_file() else None
    if present != data:
        known = record.read_text() if record.is_file() else ""
        if present is not None and hashlib.sha256(present).hexdigest() != known:
            raise InputError(
                "received.kept",
                "there is another file of this name, which piimage did not write",
                place=str(target),
                hint="give another name: --name NAME, or move that file away",
            )
        write_chunks(target, [data])
    store.write_beside(record, digest.encode())
