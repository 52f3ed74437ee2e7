"""Passes the package indexes of the host's pip to uv.

pip's settings are used (files, PIP_… variables), because users have them already: a company's
mirror, a certificate, a folder of wheels.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from piimage.errors import InputError
from piimage.launch import python_module
from piimage.run import Runner

_PASSED: Final = (
    "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "NETRC",
)  # fmt: skip
_SECTIONS: Final = ("global", "install")


@dataclass(frozen=True)
class Index:
    """The indexes as variables and options of uv; the variables may contain passwords."""

    variables: Mapping[str, str] = field(repr=False)
    words: tuple[str, ...] = ()

    def with_login(self, url: str) -> str:
        """Return `url` with the login of the index on the same host, unless it has one.

        uv leaves logins out of its output.
        """
        parts = urlsplit(url)
        if parts.username is not None:
            return url
        named = (self.variables.get(name, "") for name in ("UV_DEFAULT_INDEX", "UV_INDEX"))
        for address in " ".join(named).split():
            login, at, host = urlsplit(address).netloc.rpartition("@")
            if at and (host, urlsplit(address).scheme) == (parts.netloc, parts.scheme):
                return parts._replace(netloc=f"{login}@{host}").geturl()
        return url


def choose(
    explicit: str | None, runner: Runner, environment: Mapping[str, str] = os.environ
) -> Index:
    """Return the index `explicit`, or else those of the host's pip.

    Raises InputError ``python.bad-index`` for an invalid address.
    """
    settings = _pip_settings(runner, environment)
    passed = {name: environment[name] for name in _PASSED if name in environment}
    passed["UV_SYSTEM_CERTS"] = "true"
    if settings.get("cert"):
        passed.setdefault("SSL_CERT_FILE", settings["cert"])
    if explicit:
        return Index({**passed, "UV_DEFAULT_INDEX": _address(explicit)})
    found = {
        "UV_DEFAULT_INDEX": settings.get("index-url", "").strip(),
        "UV_INDEX": _listed(settings.get("extra-index-url")),
        # Unlike the other lists, this list of paths is separated by commas.
        "UV_FIND_LINKS": ",".join(settings.get("find-links", "").split()),
        "UV_INSECURE_HOST": _listed(settings.get("trusted-host")),
    }
    if settings.get("proxy"):
        found |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), settings["proxy"])
    words = ("--no-index",) if settings.get("no-index", "").lower() in _TRUE else ()
    return Index({**passed, **{name: value for name, value in found.items() if value}}, words)


_TRUE: Final = ("1", "true", "yes", "on")


def _pip_settings(runner: Runner, environment: Mapping[str, str]) -> Mapping[str, str]:
    """Return pip's settings by their long option; the most specific source wins."""
    own = {name: value for name, value in environment.items() if name.startswith("PIP_")}
    command = python_module("pip", "config", "list")
    done = runner.with_environment(**own).run(command, accept=range(256))
    found: dict[tuple[str, str], str] = {}
    for line in done.text.splitlines() if done.status == 0 else ():
        name, equals, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if equals and section in _SECTIONS:
            found[section, key] = _unquoted(value)
    # The variables count even if pip is not installed.
    known = {key: found[section, key] for section in _SECTIONS for s, key in found if s == section}
    stated = {name.removeprefix("PIP_").lower().replace("_", "-"): own[name] for name in own}
    return {**known, **stated}


def _unquoted(value: str) -> str:
    try:
        return str(ast.literal_eval(value))
    except (ValueError, SyntaxError):
        return value


def _listed(value: str | None) -> str:
    return " ".join((value or "").split())


def _address(text: str) -> str:
    url = text.strip().rstrip("/")
    if url.startswith("/"):
        return f"file://{url}"
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https", "file") and bool(parts.netloc or parts.path)
    except ValueError:
        good = False
    if not good:
        raise InputError(
            "python.bad-index",
            "this is not the address of a package index",
            place="--index",
            hint="give a URL in the form of pip's --index-url (https://HOST/simple), or a folder",
        )
    return url
