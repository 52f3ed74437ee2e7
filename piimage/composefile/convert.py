"""A whole Compose file as a file of piimage, and what of it could not be carried over."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml

from piimage.composefile.gets import FOLDER, lay
from piimage.composefile.recognise import is_compose
from piimage.composefile.rights import DOCKER_CAPABILITIES
from piimage.composefile.runs import program
from piimage.composefile.service import Service
from piimage.composefile.values import capability_names
from piimage.composefile.variables import Interpolation, settings
from piimage.composefile.words import carry, in_order, understood
from piimage.document.document import Document, each_scalar, parse_document
from piimage.document.nodes import MapNode, ScalarNode
from piimage.errors import InputError, raise_all

_TOP: Final = ("services", "volumes", "networks", "secrets", "configs", "name", "version")
_HERE: Final = "127.0.0.1"
_HOSTS: Final = f"{FOLDER}/hosts"
_RESOLVER: Final = "/run/resolv.conf:/etc/resolv.conf:ro"


@dataclass(frozen=True)
class Imported:
    """The file that was made of a Compose file, and remarks as ``place: service: what``."""

    text: str
    remarks: tuple[str, ...]


def convert(file: Path, board: str, beside: Path) -> Imported:
    """Return what the Compose file `file` is in piimage's YAML, for `board`.

    Paths in the result start at the folder `beside`.

    Raises InputError ``config.unreadable``, ``import.not-compose``, and those of YAML.
    """
    return _Whole(file, _read(file), beside).imported(board)


def _read(file: Path) -> Document:
    try:
        data = file.read_bytes()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise InputError(
            "config.unreadable",
            f"cannot be read ({why})",
            place=str(file),
            hint="give the path of a Compose file, such as compose.yml",
        ) from error
    document, errors = parse_document(data, str(file))
    raise_all(errors)
    if not is_compose(document):
        raise InputError(
            "import.not-compose",
            "this is not a Compose file: it has no mapping of services by name",
            place=str(file),
            hint="give a file with `services:`, NAME: below it, and an image below that",
        )
    return document


class _Whole:
    def __init__(self, file: Path, document: Document, beside: Path) -> None:
        self._file = file
        self._beside = beside
        self._written = document
        self._variables = Interpolation(_dotenv(file.parent))
        self._remarks: list[str] = []
        root = each_scalar(document.root, self._rewritten)
        assert isinstance(root, MapNode)  # noqa: S101  # a mapping stays one
        self._data = Document(root).data()

    def _rewritten(self, scalar: ScalarNode) -> ScalarNode:
        text = self._variables.rewritten(scalar.text)
        return ScalarNode(scalar.at, text, scalar.plain and text == scalar.text)

    def imported(self, board: str) -> Imported:
        services = [
            self._service(name, said or {})
            for name, said in self._data["services"].items()
            if self._is_run(name, said or {})
        ]
        self._empty_services()
        self._drop_absent([service.entry for service in services])
        self._top_remarks()
        if shown := sorted(self._variables.names & set(self._variables.defaults)):
            self._remarks.append(f"{self._file.parent / '.env'}: its {', '.join(shown)}: now here")
        if within := sorted(self._variables.within):
            text = f"{', '.join(within)}: within another variable's value, and filled in"
            self._remarks.append(f"{self._file}: {text}")
        files = [file for service in services for file in service.files]
        files += [*self._named_files("secrets"), *self._named_files("configs")]
        hosts = {alias: address for service in services for alias, address in service.hosts.items()}
        names = {service.name: _HERE for service in services} | hosts
        files.append({"path": _HOSTS, "contents": _hosts(names), "mode": "0644"})
        made: dict[str, Any] = {"board": board}
        if self._variables.names:
            made["variables"] = sorted(self._variables.names)
        made["onboot"] = [{"name": "dhcp", "use": "dhcp"}]
        renew = {"name": "dhcp-renew", "use": "dhcp-renew"}
        made["services"] = [renew, *(service.entry for service in services)]
        made["files"] = _each_once(files)
        if sysctl := {key: text for service in services for key, text in service.sysctl.items()}:
            made["sysctl"] = sysctl
        body = yaml.dump(self._finished(made), Dumper=_Dumper, sort_keys=False, allow_unicode=True,
                         default_flow_style=None, width=96)  # fmt: skip
        return Imported(self._head() + body, tuple(self._remarks))

    def _is_run(self, name: str, said: Mapping[str, Any]) -> bool:
        if not isinstance(said, Mapping):
            self._remark(("services", name), f"{name}: is not a mapping, so it is left out")
            return False
        if said.get("profiles"):
            why = f"{name}: runs only with a profile, so it is left out"
            self._remark(("services", name, "profiles"), why)
            return False
        if "image" not in said and "build" not in said:
            why = f"{name}: has neither image nor build, so it is left out"
            self._remark(("services", name), why)
            return False
        return True

    def _empty_services(self) -> None:
        """Say what is left out because nothing stands below its name."""
        written = self._written.root.items["services"]
        assert isinstance(written, MapNode)  # noqa: S101  # else this is no Compose file
        for name in written.items:
            if name not in self._data["services"]:
                self._remark(("services", name), f"{name}: is empty, so it is left out")

    def _service(self, name: str, said: Mapping[str, Any]) -> Service:
        service = Service(re.sub("[^A-Za-z0-9_.-]", "-", name), self._file.parent, self._beside)
        service.entry["name"] = service.name
        for word, value in in_order(said):
            self._noting(name, word, lambda w=word, v=value: carry(w, v, service), service)
        entrypoint, command = said.get("entrypoint"), said.get("command")
        runs = partial(program, service, entrypoint, command)
        self._noting(name, "command", lambda: understood("command", runs, service), service)
        _docker_defaults(service, said)
        return service

    def _drop_absent(self, entries: Sequence[dict[str, Any]]) -> None:
        """Leave out what services wait for and is not carried over."""
        names = {entry["name"] for entry in entries}
        for entry in entries:
            gone = [name for name in entry.get("after", ()) if name not in names]
            for name in gone:
                entry["after"].remove(name)
                path = ("services", entry["name"], "depends_on")
                self._remark(path, f"{entry['name']}: does not wait for {name}, which is left out")

    def _noting(self, name: str, word: str, call: Any, service: Service) -> None:  # noqa: ANN401
        """Make `call`, and keep what it notes with the place of the word."""
        before = len(service.notes)
        call()
        for note in service.notes[before:]:
            self._remark(("services", name, word), f"{name}: {note}")

    def _remark(self, path: tuple[str | int, ...], text: str) -> None:
        self._remarks.append(
            f"{self._written.key_place(path)}: {' '.join(self._finished(text).split())}"
        )

    def _top_remarks(self) -> None:
        for key in self._data:
            if key not in _TOP and not key.startswith("x-"):
                hint = "; `docker compose config > FULL.yml` writes it out"
                end = hint if key == "include" else ""
                self._remark((key,), f"{key}: is not carried over{end}")
        for name, how in self._top("volumes").items():
            if isinstance(how, Mapping) and (how.get("external") or how.get("driver_opts")):
                self._remark(("volumes", name), f"volume {name}: is a new folder on the Pi")

    def _top(self, word: str) -> Mapping[str, Any]:
        """Return what the top-level `word` says of each name."""
        said = self._data.get(word) or {}
        if isinstance(said, Mapping):
            return said
        self._remark((word,), f"{word}: its value is not understood")
        return {}

    def _named_files(self, word: str) -> Iterator[dict[str, Any]]:
        """Give the files of the top-level `secrets` or `configs`."""
        for name, how in self._top(word).items():
            path = f"{FOLDER}/{word}/{name}"
            if isinstance(how, Mapping) and isinstance(how.get("file"), str):
                holder = Service(name, self._file.parent, self._beside)
                lay(holder, path, self._file.parent / Path(how["file"]).expanduser(), "0444")
                yield from holder.files
            elif isinstance(how, Mapping) and "content" in how:
                yield {"path": path, "contents": str(how["content"]), "mode": "0444"}
            else:
                self._remark((word, name), f"{word}: {name} comes from elsewhere: add it to files:")

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
            "Capabilities, noNewPrivileges and readonly are what Docker gives; most need less.",
            "Named volumes are folders of /data/volumes on the Pi, and start empty.",
            "",
            "Not as it was:" if self._remarks else "All of it was carried over.",
            *(f"  {remark.removeprefix(f'{self._file}:')}" for remark in self._remarks),
        ]
        return "".join(f"# {line}".rstrip() + "\n" for line in lines) + "\n"


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such."""


def _as_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _as_text)


def _docker_defaults(service: Service, said: Mapping[str, Any]) -> None:
    """Say what Docker gives unasked, and piimage does not."""
    entry = service.entry
    if entry.get("capabilities") != ["all"]:
        dropped = set(capability_names(said.get("cap_drop") or []))
        kept = [] if "all" in dropped else [c for c in DOCKER_CAPABILITIES if c not in dropped]
        added = entry.get("capabilities", [])
        entry["capabilities"] = [*kept, *(name for name in added if name not in kept)]
    entry.setdefault("noNewPrivileges", False)
    entry.setdefault("readonly", False)
    entry.setdefault("restart", "no")
    binds = [bind.split(":")[1] for bind in entry.get("binds", ())]
    for own in (f"/{_HOSTS}:/etc/hosts:ro", _RESOLVER):
        if own.split(":")[1] not in binds:
            service.more("binds", own)


def _hosts(names: Mapping[str, str]) -> str:
    here = sorted(name for name, address in names.items() if address == _HERE)
    lines = [" ".join([_HERE, "localhost", *here]), "::1 localhost"]
    lines += [f"{names[name]} {name}" for name in sorted(names) if name not in here]
    return "".join(f"{line}\n" for line in lines)


def _each_once(files: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({file["path"]: file for file in files}.values())


def _dotenv(folder: Path) -> dict[str, str]:
    try:
        return settings((folder / ".env").read_text())
    except (OSError, UnicodeDecodeError):
        return {}
