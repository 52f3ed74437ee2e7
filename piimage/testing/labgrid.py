"""Reads the Pi's address from labgrid's environment file.

The format is that of labgrid 26 (doc/configuration.rst, "Environment Configuration"): a target has
resources and drivers, each a mapping or a list; here NetworkService and SSHDriver count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from string import Template
from typing import Any, Final

import yaml

from piimage.deploy.hosts import Host, parse_host
from piimage.errors import InputError

MAIN_TARGET: Final = "main"
"""The target that labgrid takes if none is named."""

Part = dict[str, Any]


def read_target(path: Path, target: str, environment: Mapping[str, str]) -> Host:
    """Return the host of a target, and the key to log in with.

    `environment` has the variables for ``!template`` and for paths. Raises InputError
    ``testing.bad-labgrid``.
    """
    targets = _load(path, environment).get("targets")
    config = targets.get(target) if isinstance(targets, dict) else None
    if not isinstance(config, dict):
        names = ", ".join(map(str, targets)) if isinstance(targets, dict) else "none"
        raise _bad(path, f"there is no target {target!r}", f"its targets: {names}")
    place = f"targets.{target}"
    drivers = [part for part in _parts(path, f"{place}.drivers", config) if _is(part, "SSHDriver")]
    driver = _only(path, f"{place}: SSHDriver", drivers) if drivers else {}
    bindings = driver.get("bindings")
    name = bindings.get("networkservice") if isinstance(bindings, dict) else None
    services = [
        part
        for part in _parts(path, f"{place}.resources", config)
        if _is(part, "NetworkService") and name in (None, part.get("name"))
    ]
    service = _only(path, f"{place}: NetworkService", services)
    if driver.get("password") or service.get("password"):
        raise _bad(path, f"{place}: piimage does not log in by password", "name a keyfile")
    host = _host(path, f"{place}: NetworkService", service, driver.get("username"))
    return replace(host, name=target, identity=_keyfile(path, place, driver, environment))


def _load(path: Path, environment: Mapping[str, str]) -> Part:
    """Return the document; ``!template`` knows the variables LG_… and BASE, the file's folder."""
    values = {name: value for name, value in environment.items() if name.startswith("LG_")}
    values["BASE"] = str(path.absolute().parent)

    class Loader(yaml.SafeLoader):
        """SafeLoader with labgrid's tag."""

    def template(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
        return Template(str(loader.construct_scalar(node))).substitute(values)

    Loader.add_constructor("!template", template)
    try:
        document = yaml.load(path.read_text(), Loader)  # noqa: S506  # a SafeLoader
    except KeyError as missing:
        raise _bad(path, f"the variable {missing} is not set", f"set {missing}") from None
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise _bad(path, f"the file cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise _bad(path, "the file is not a mapping")
    return document


def _parts(path: Path, place: str, config: Part) -> list[Part]:
    """Return resources or drivers, each with its class under ``cls``, from either form."""
    parts = config.get(place.rpartition(".")[2])
    if isinstance(parts, dict):
        parts = [{key: value} for key, value in parts.items()]
    if not isinstance(parts, list | None):
        raise _bad(path, f"{place} is neither a mapping nor a list")
    return [_part(path, place, item) for item in parts or ()]


def _part(path: Path, place: str, item: object) -> Part:
    if not isinstance(item, dict):
        raise _bad(path, f"{place} has an entry that is not a mapping")
    if "cls" in item:
        return item
    ((kind, fields),) = item.items() if len(item) == 1 else (("", ()),)
    if not isinstance(fields, dict | None):
        raise _bad(path, f"{place} has an entry without the key cls")
    return {"cls": kind, **(fields or {})}


def _is(part: Part, kind: str) -> bool:
    return bool(part["cls"] == kind)


def _only(path: Path, subject: str, parts: list[Part]) -> Part:
    if len(parts) != 1:
        raise _bad(
            path, f"{subject}: exactly one is needed, and there are {len(parts)}",
            "name the NetworkService in bindings: of the SSHDriver",
        )  # fmt: skip
    return parts[0]


def _host(path: Path, place: str, service: Part, username: object) -> Host:
    address, port = service.get("address"), service.get("port", 22)
    user = username or service.get("username")
    if not isinstance(address, str) or not isinstance(user, str) or type(port) is not int:
        raise _bad(path, f"{place} needs address and username, and a port that is a number")
    literal = f"[{address}]" if ":" in address else address
    try:
        return parse_host(f"{user}@{literal}:{port}")
    except InputError as error:
        raise _bad(path, f"{place}: {error.message}") from None


def _keyfile(path: Path, place: str, driver: Part, environment: Mapping[str, str]) -> Path | None:
    """Return the key's file; labgrid fills in ``~`` and variables, and begins at its own folder."""
    text = driver.get("keyfile") or None
    if text is None:
        return None
    if not isinstance(text, str):
        raise _bad(path, f"{place}: keyfile is not a text")
    home = environment.get("HOME", "~")
    text = f"{home}{text[1:]}" if text == "~" or text.startswith("~/") else text
    return path.absolute().parent / Template(text).safe_substitute(environment)


def _bad(path: Path, message: str, hint: str | None = None) -> InputError:
    return InputError(
        "testing.bad-labgrid", message, place=str(path),
        hint=hint or "docs/ci.md has an example",
    )  # fmt: skip
