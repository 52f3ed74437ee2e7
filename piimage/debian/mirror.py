"""The archives that packages are fetched from: the user's choice, or else the host's apt sources.

piimage contains no address of an archive. Credentials in an address are used, but never shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from piimage.debian.deb822 import paragraph
from piimage.distribution import os_release
from piimage.errors import InputError

_SCHEMES: Final = ("http", "https", "file")
_USAGE: Final = (
    "give the root of a Debian archive (the folder with dists and pool), optionally followed by a "
    "comma and the root of the security archive: --mirror URL[,URL] or PIIMAGE_MIRROR"
)


@dataclass(frozen=True)
class Root:
    """The root of an archive, without a slash at its end; printed without its credentials."""

    url: str = field(repr=False)

    def __str__(self) -> str:
        return without_credentials(self.url)

    def at(self, path: str) -> str:
        """Return the URL of `path` below the root."""
        return f"{self.url}/{path}"


@dataclass(frozen=True)
class Mirrors:
    """The main archive and the security archive."""

    main: Root
    security: Root

    def of(self, suite: str) -> Root:
        """Return the archive of `suite`: Debian keeps NAME-security in an archive of its own."""
        return self.security if is_security(suite) else self.main


def is_security(suite: str) -> bool:
    """Return whether `suite` is in the security archive."""
    return suite.endswith("-security")


def without_credentials(url: str) -> str:
    """Return `url` without user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def choose(explicit: str | None, host: Path = Path("/")) -> Mirrors:
    """Return the archives to use: `explicit` (``MAIN[,SECURITY]``), or else those of this host.

    `host` is the root folder of the host's file system. The default of SECURITY is the sibling
    folder ``debian-security`` if MAIN ends in ``debian``, and MAIN otherwise. Raises InputError
    ``debian.bad-mirror`` for an invalid URL, and ``debian.no-mirror`` if `explicit` is empty and
    the host is not Debian or has no usable source.
    """
    if explicit:
        return _explicit(explicit)
    mirrors = _of_host(host)
    if mirrors is None:
        raise InputError(
            "debian.no-mirror",
            "the apt sources of this host do not name a Debian archive",
            hint=_USAGE,
        )
    return mirrors


def root(url: str) -> Root:
    """Return the archive root at `url`, a URL or a local folder.

    Raises InputError ``debian.bad-mirror``.
    """
    text = url.strip().rstrip("/")
    if text.startswith("/"):
        return Root(f"file://{text}")
    try:
        parts = urlsplit(text)
        usable = _usable(parts)
    except ValueError:
        usable = False
    if not usable:
        raise InputError(
            "debian.bad-mirror",
            f"{_without_password(text)!r} is not the URL of an archive",
            hint=_USAGE,
        )
    return Root(text)


def _usable(parts: SplitResult) -> bool:
    if parts.scheme not in _SCHEMES or parts.query or parts.fragment:
        return False
    _ = parts.port  # raises ValueError if the port is not a number
    return bool(parts.path) if parts.scheme == "file" else bool(parts.hostname)


def _without_password(text: str) -> str:
    """Hide a possible password in text that is not a valid URL."""
    return re.sub(r"[^/]*@", "***@", text)


def _explicit(text: str) -> Mirrors:
    main, comma, security = text.partition(",")
    archive = root(main)
    if comma:
        return Mirrors(archive, root(security))
    parent, _, name = archive.url.rpartition("/")
    return Mirrors(archive, Root(f"{parent}/debian-security") if name == "debian" else archive)


@dataclass(frozen=True)
class _Source:
    """One root and suite of the host's apt sources."""

    url: str
    suite: str
    signed_by: str


def _of_host(host: Path) -> Mirrors | None:
    release = os_release(host)
    codename = release.get("VERSION_CODENAME", "")
    if release.get("ID") != "debian" or not codename:
        return None
    sources = [source for source in _sources(host) if urlsplit(source.url).scheme in _SCHEMES]
    main = _best(sources, (codename, f"{codename}-updates", f"{codename}-backports"), codename)
    if main is None:
        return None
    security = _best(sources, (f"{codename}-security",), codename)
    sibling = _explicit(main)
    return Mirrors(sibling.main, root(security) if security else sibling.security)


def _best(sources: list[_Source], suites: tuple[str, ...], codename: str) -> str | None:
    """Return the root that is most likely Debian's own, of those that have one of `suites`.

    Other archives (of vendors, of Raspberry Pi) use Debian's code names too, but they do not have
    CODENAME-updates and are not signed by Debian's keyring. gpgv refuses a wrong guess later.
    """
    updated = {source.url for source in sources if source.suite == f"{codename}-updates"}

    def score(source: _Source) -> int:
        named = urlsplit(source.url).path.rstrip("/").endswith(("/debian", "/debian-security"))
        return 4 * (source.url in updated) + 2 * ("debian-archive" in source.signed_by) + 1 * named

    matching = [source for source in sources if source.suite in suites]
    return max(matching, key=score).url.rstrip("/") if matching else None


def _sources(host: Path) -> Iterator[_Source]:
    apt = host / "etc/apt"
    for path in [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*.list"))]:
        yield from _one_line(_text(path), host)
    for path in sorted((apt / "sources.list.d").glob("*.sources")):
        yield from _deb822(_text(path), host)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _one_line(text: str, host: Path) -> Iterator[_Source]:
    """Read sources.list(5)'s one-line style: ``deb [ options ] uri suite component...``."""
    line_form = re.compile(r"deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s+(.*)")
    for line in text.splitlines():
        if match := line_form.match(line.strip()):
            options, uri, suite, components = match.groups()
            if "main" in components.partition("#")[0].split():
                for url in _urls(uri, host):
                    yield _Source(url, suite, options or "")


def _deb822(text: str, host: Path) -> Iterator[_Source]:
    """Read sources.list(5)'s deb822 style."""
    for block in re.split(r"\n\s*\n", text):
        try:
            fields = paragraph(block)
        except ValueError:
            continue  # apt itself reports this
        enabled = fields.get("enabled", "").lower() not in ("no", "false", "off", "0")
        binary = "deb" in fields.get("types", "").split()
        if enabled and binary and "main" in fields.get("components", "").split():
            for uri in fields.get("uris", "").split():
                for suite in fields.get("suites", "").split():
                    for url in _urls(uri, host):
                        yield _Source(url, suite, fields.get("signed-by", ""))


def _urls(uri: str, host: Path) -> Iterator[str]:
    """Yield `uri`, or the URLs in the list that a ``mirror+file:`` URI points to."""
    if not uri.startswith(("mirror+file:", "mirror:file:")):
        yield uri
        return
    path = urlsplit(uri.partition(":")[2] if uri.startswith("mirror:") else uri).path
    for line in _text(host / path.lstrip("/")).splitlines():
        if words := line.partition("#")[0].split():
            yield words[0]
