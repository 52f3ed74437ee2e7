"""Converts a whole Compose file to a piimage file, and lists what could not be converted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml

from piimage.composefile.gets import FOLDER, add_file, secret_hint
from piimage.composefile.keys import convert_key, guarded, in_order
from piimage.composefile.recognise import is_compose
from piimage.composefile.rights import DOCKER_CAPABILITIES
from piimage.composefile.runs import program
from piimage.composefile.service import Service
from piimage.composefile.values import capability_names
from piimage.composefile.variables import Interpolation, settings
from piimage.document.document import Document, content, each_scalar, parse_document
from piimage.document.nodes import MapNode, ScalarNode
from piimage.errors import InputError, raise_all

_TOP: Final = ("services", "volumes", "networks", "secrets", "configs", "name", "version")
_LOCALHOST: Final = "127.0.0.1"
_HOSTS: Final = f"{FOLDER}/hosts"
_RESOLVER: Final = "/run/resolv.conf:/etc/resolv.conf:ro"


@dataclass(frozen=True)
class Imported:
    """The text of the new file, and remarks of the form ``place: service: remark``."""

    text: str
    remarks: tuple[str, ...]


def convert(file: Path, board: str, beside: Path) -> Imported:
    """Convert the Compose file `file` to piimage's YAML for `board`.

    Paths in the result are relative to the folder `beside`.

    Raises InputError ``config.unreadable``, ``import.not-compose``, and the errors of the YAML
    parser.
    """
    return _Conversion(file, _read(file), beside).imported(board)


def _read(file: Path) -> Document:
    data = content(file, "give the path of a Compose file, such as compose.yml")
    document, errors = parse_document(data, str(file))
    raise_all(errors)
    if not is_compose(document):
        raise InputError(
            "import.not-compose",
            "this is not a Compose file: its `services:` is not a mapping of names to services",
            place=str(file),
            hint="give a file in which `services:` maps each name to a service with an image",
        )
    return document


class _Conversion:
    def __init__(self, file: Path, document: Document, beside: Path) -> None:
        self._file = file
        self._beside = beside
        self._document = document
        self._variables = Interpolation(_dotenv(file.parent))
        self._remarks: list[str] = []
        root = each_scalar(document.root, self._rewritten)
        assert isinstance(root, MapNode)  # noqa: S101  # only its scalars were replaced
        self._data = Document(root).data()

    def _rewritten(self, scalar: ScalarNode) -> ScalarNode:
        text = self._variables.rewritten(scalar.text)
        return ScalarNode(scalar.at, text, scalar.plain and text == scalar.text)

    def imported(self, board: str) -> Imported:
        services = [
            self._service(name, fields or {})
            for name, fields in self._data["services"].items()
            if self._is_run(name, fields or {})
        ]
        self._empty_services()
        self._drop_absent([service.entry for service in services])
        self._top_remarks()
        self._secret_remarks(services)
        if shown := sorted(self._variables.names & set(self._variables.defaults)):
            env_file = self._file.parent / ".env"
            self._remarks.append(f"{env_file}: the values of {', '.join(shown)} are now defaults")
        if within := sorted(self._variables.within):
            text = f"{', '.join(within)}: replaced by its value inside another variable's default"
            self._remarks.append(f"{self._file}: {text}")
        files = [file for service in services for file in service.files]
        files += self._configs()
        hosts = {alias: address for service in services for alias, address in service.hosts.items()}
        names = {service.name: _LOCALHOST for service in services} | hosts
        files.append({"path": _HOSTS, "contents": _hosts(names), "mode": "0644"})
        made: dict[str, Any] = {"board": board}
        if self._variables.names:
            made["variables"] = sorted(self._variables.names)
        made["onboot"] = [{"name": "dhcp", "use": "dhcp"}]
        renew = {"name": "dhcp-renew", "use": "dhcp-renew"}
        made["services"] = [renew, *(service.entry for service in services)]
        made["files"] = _without_repeats(files)
        if sysctl := {key: text for service in services for key, text in service.sysctl.items()}:
            made["sysctl"] = sysctl
        body = yaml.dump(self._finished(made), Dumper=_Dumper, sort_keys=False, allow_unicode=True,
                         default_flow_style=None, width=96)  # fmt: skip
        return Imported(self._head() + body, tuple(self._remarks))

    def _is_run(self, name: str, fields: Mapping[str, Any]) -> bool:
        if not isinstance(fields, Mapping):
            self._remark(("services", name), f"{name}: left out, because it is not a mapping")
            return False
        if fields.get("profiles"):
            why = f"{name}: left out, because it runs only with a profile"
            self._remark(("services", name, "profiles"), why)
            return False
        if "image" not in fields and "build" not in fields:
            why = f"{name}: left out, because it has neither image nor build"
            self._remark(("services", name), why)
            return False
        return True

    def _empty_services(self) -> None:
        """Report the services that are left out because they have no content."""
        services = self._document.root.items["services"]
        assert isinstance(services, MapNode)  # noqa: S101  # `is_compose` checked it
        for name in services.items:
            if name not in self._data["services"]:
                self._remark(("services", name), f"{name}: left out, because it is empty")

    def _service(self, name: str, fields: Mapping[str, Any]) -> Service:
        service = Service(re.sub("[^A-Za-z0-9_.-]", "-", name), self._file.parent, self._beside)
        service.entry["name"] = service.name
        for key, value in in_order(fields):
            self._noting(name, key, lambda k=key, v=value: convert_key(k, v, service), service)
        entrypoint, command = fields.get("entrypoint"), fields.get("command")
        runs = partial(program, service, entrypoint, command)
        self._noting(name, "command", lambda: guarded("command", runs, service), service)
        _docker_defaults(service, fields)
        return service

    def _drop_absent(self, entries: Sequence[dict[str, Any]]) -> None:
        """Remove from `after` the services that are left out."""
        names = {entry["name"] for entry in entries}
        for entry in entries:
            absent = [name for name in entry.get("after", ()) if name not in names]
            for name in absent:
                entry["after"].remove(name)
                path = ("services", entry["name"], "depends_on")
                self._remark(path, f"{entry['name']}: does not wait for {name}, which is left out")

    def _noting(self, name: str, key: str, call: Any, service: Service) -> None:  # noqa: ANN401
        """Run `call`, and keep its notes as remarks with the place of `key`."""
        before = len(service.notes)
        call()
        for note in service.notes[before:]:
            self._remark(("services", name, key), f"{name}: {note}")

    def _remark(self, path: tuple[str | int, ...], text: str) -> None:
        self._remarks.append(
            f"{self._document.key_place(path)}: {' '.join(self._finished(text).split())}"
        )

    def _top_remarks(self) -> None:
        for key in self._data:
            if key not in _TOP and not key.startswith("x-"):
                hint = "; expand it first: `docker compose config > FULL.yml`"
                end = hint if key == "include" else ""
                self._remark((key,), f"{key}: not converted{end}")
        for name, options in self._top("volumes").items():
            if isinstance(options, Mapping) and {"external", "driver_opts"} & _true(options):
                self._remark(("volumes", name), f"volume {name}: becomes a new, empty folder")

    def _top(self, key: str) -> Mapping[str, Any]:
        """Return the mapping under the top-level `key`; empty if there is none."""
        value = self._data.get(key) or {}
        if isinstance(value, Mapping):
            return value
        self._remark((key,), f"{key}: its value is not understood")
        return {}

    def _configs(self) -> Iterator[dict[str, Any]]:
        """Give the files of the top-level `configs`."""
        for name, options in self._top("configs").items():
            path = f"{FOLDER}/configs/{name}"
            if isinstance(options, Mapping) and isinstance(options.get("file"), str):
                holder = Service(name, self._file.parent, self._beside)
                source = self._file.parent / Path(options["file"]).expanduser()
                add_file(holder, path, source, "0444")
                yield from holder.files
            elif isinstance(options, Mapping) and "content" in options:
                yield {"path": path, "contents": str(options["content"]), "mode": "0444"}
            else:
                why = f"configs: {name} is not defined in this file; add its content to files:"
                self._remark(("configs", name), why)

    def _secret_remarks(self, services: Iterable[Service]) -> None:
        """Say how the value of each secret comes to the Pi: the new file does not hold it."""
        defined = self._top("secrets")
        for service in services:
            for name, source in service.secrets.items():
                options = defined.get(source)
                file = options.get("file") if isinstance(options, Mapping) else None
                hint = secret_hint(name, file if isinstance(file, str) else "FILE")
                place = ("services", service.name, "secrets")
                self._remark(place, f"{service.name}: secrets: {name}: not in this file; {hint}")

    def _finished(self, value: Any) -> Any:  # noqa: ANN401
        match value:
            case dict():
                return {key: self._finished(item) for key, item in value.items()}
            case list() | tuple():
                return [self._finished(item) for item in value]
            case str():
                return self._variables.finished(value)
            case bool() | None:
                return value
            case int():
                return int(value)
        return value

    def _head(self) -> str:
        lines = [
            f"Made from {self._file.name} by `piimage import`.",
            "Capabilities, noNewPrivileges and readonly are Docker's defaults; most services need",
            "fewer rights. Named volumes are folders of /data/volumes on the Pi, empty at first.",
            "",
            "What differs:" if self._remarks else "Everything was converted.",
            *(f"  {remark.removeprefix(f'{self._file}:')}" for remark in self._remarks),
        ]
        return "".join(f"# {line}".rstrip() + "\n" for line in lines) + "\n"


class _Dumper(yaml.SafeDumper):
    """Writes a text of several lines as a literal block."""


def _as_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _as_text)


def _docker_defaults(service: Service, fields: Mapping[str, Any]) -> None:
    """Write Docker's defaults where piimage has others."""
    entry = service.entry
    if entry.get("capabilities") != ["all"]:
        dropped = set(capability_names(fields.get("cap_drop") or []))
        kept = [] if "all" in dropped else [c for c in DOCKER_CAPABILITIES if c not in dropped]
        added = entry.get("capabilities", [])
        entry["capabilities"] = [*kept, *(name for name in added if name not in kept)]
    entry.setdefault("noNewPrivileges", False)
    entry.setdefault("readonly", False)
    entry.setdefault("restart", "no")
    binds = [bind.split(":")[1] for bind in entry.get("binds", ())]
    for default in (f"/{_HOSTS}:/etc/hosts:ro", _RESOLVER):
        if default.split(":")[1] not in binds:
            service.add("binds", default)


def _true(options: Mapping[str, Any]) -> set[str]:
    return {key for key, value in options.items() if value}


def _hosts(names: Mapping[str, str]) -> str:
    local = sorted(name for name, address in names.items() if address == _LOCALHOST)
    lines = [" ".join([_LOCALHOST, "localhost", *local]), "::1 localhost"]
    lines += [f"{names[name]} {name}" for name in sorted(names) if name not in local]
    return "".join(f"{line}\n" for line in lines)


def _without_repeats(files: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({file["path"]: file for file in files}.values())


def _dotenv(folder: Path) -> dict[str, str]:
    try:
        return settings((folder / ".env").read_text())
    except (OSError, UnicodeDecodeError):
        return {}
