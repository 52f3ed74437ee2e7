"""What a Compose service sees: variables, volumes, files, devices, names.

Source: the Compose specification, "Services top-level elements".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

from piimage.composefile.service import Service, Word, beside
from piimage.composefile.values import (
    as_written,
    pairs,
    parts,
    size,
)
from piimage.composefile.variables import settings

VOLUMES: Final = "/data/volumes"
"""Where Compose's named volumes lie on the Pi: the partition that persists."""

FOLDER: Final = "etc/compose"
"""Where files of the build host lie on the Pi that services see."""

_MOST_FILES: Final = 200
_WINDOWS: Final = re.compile(r"[A-Za-z]:[\\/]")


def _environment(value: Any, service: Service) -> None:  # noqa: ANN401
    for name, text in pairs(value).items():
        if text is None:
            service.note(f"environment: {name} has no value: it would be this computer's")
            continue
        _set_variable(service, name, text)


def _set_variable(service: Service, name: str, text: str) -> None:
    prefix = f"{name}="
    others = [entry for entry in service.entry.get("env", ()) if not entry.startswith(prefix)]
    service.entry["env"] = [*others, f"{prefix}{text}"]


def _env_file(value: Any, service: Service) -> None:  # noqa: ANN401
    for file in value if isinstance(value, list) else [value]:
        path = as_written(file["path"] if isinstance(file, Mapping) else file)
        if service.folder is None:
            service.note(f"env: [NAME=VALUE], with the lines of {path}")
            continue
        try:
            found = settings((service.folder / path).read_text())
        except (OSError, UnicodeDecodeError):
            if not isinstance(file, Mapping) or file.get("required", True):
                service.note(f"env_file: {path} cannot be read; its lines belong into env:")
            continue
        for name, text in found.items():
            # A literal, whatever it holds; what `environment` says wins over it.
            if not any(said.startswith(f"{name}=") for said in service.entry.get("env", ())):
                service.more("env", f"{name}={text}".replace("${", "\0{"))


def _volumes(value: Any, service: Service) -> None:  # noqa: ANN401
    for volume in value:
        if isinstance(volume, Mapping):
            _mount(volume, service)
            continue
        if _WINDOWS.match(as_written(volume)):
            service.note(f"volumes: {volume}: a folder of Windows is not mounted")
            continue
        source, target, *more = said if len(said := parts(volume)) > 1 else ("", said[0])
        options = more[0].split(",") if more else []
        _bind(source, target, "ro" in options, service)


def _mount(volume: Mapping[str, Any], service: Service) -> None:
    target, kind = as_written(volume["target"]), volume.get("type", "volume")
    if kind == "tmpfs":
        said = volume.get("tmpfs") or {}
        options = [f"size={as_written(size(said['size'])).lower()}"] if "size" in said else []
        options += [f"mode={as_written(said['mode']).replace('0o', '0')}"] if "mode" in said else []
        service.more("tmpfs", ":".join([target, ",".join(options)]) if options else target)
    elif kind in ("volume", "bind"):
        _bind(as_written(volume.get("source", "")), target, bool(volume.get("read_only")), service)
    else:
        service.note(f"volumes: type {kind} ({target}) is not mounted")


def _bind(source: str, target: str, read_only: bool, service: Service) -> None:
    option = ":ro" if read_only else ""
    if source.endswith("docker.sock"):
        service.note(f"volumes: {source}: there is no Docker on the Pi")
    elif source.startswith(("/dev/", "/sys/", "/proc/")) or source in ("/dev", "/sys", "/proc"):
        service.more("binds", f"{source}:{target}{option}")
    elif source.startswith(("/etc/localtime", "/etc/timezone")):
        service.note(f"volumes: {source}: say `timezone:` at the top, and TZ= in env")
    elif source.startswith((".", "~")) and _is_here(source, service):
        _lay_in(source, target, read_only, service)
    else:
        path = f"{VOLUMES}/{_named(source) or _named(f'{service.name}{target}')}"
        service.more("binds", f"{path}:{target}{option}")
        made = service.entry.setdefault("runtime", {}).setdefault("mkdir", [])
        made.extend([path] if path not in made else [])
        if source.startswith(("/", ".", "~", "$")):
            service.note(f"volumes: the folder {source} is {path} on the Pi, and starts empty")


def _is_here(source: str, service: Service) -> bool:
    """Say whether the file or folder is there; Docker makes an empty folder of one that is not."""
    return service.folder is None or (service.folder / Path(source).expanduser()).exists()


def _named(source: str) -> str:
    if variable := re.match(r"\$\{([A-Za-z0-9_]+)", source):
        return variable[1]
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", source).strip("-.")


def _lay_in(source: str, target: str, read_only: bool, service: Service) -> None:
    """Carry over a file or a folder beside the Compose file: it becomes part of the system."""
    place = f"{FOLDER}/{service.name}/{_named(target)}"
    service.more("binds", f"/{place}:{target}:ro")
    if not read_only:
        service.note(f"volumes: {source} is part of the system, and read-only at {target}")
    if service.folder is None:
        service.note(f"files: [{{path: {place}, source: {source}, mode: '0644'}}] at the top")
        return
    here = service.folder / Path(source).expanduser()
    below = (file for file in here.rglob("*") if file.is_file())
    found = sorted(islice(below, _MOST_FILES + 1)) if here.is_dir() else [here]
    if len(found) > _MOST_FILES:
        service.note(f"volumes: {source} has over {_MOST_FILES} files: bring them in an image")
        return
    if here.is_dir():
        service.files.append({"path": place, "directory": True, "mode": "0755"})
    for file in found:
        inside = f"/{file.relative_to(here)}" if here.is_dir() else ""
        lay(service, f"{place}{inside}", file)


def lay(service: Service, path: str, source: Path, mode: str | None = None) -> None:
    """Add the file `source` to the system's root, at `path`."""
    runs = source.is_file() and source.stat().st_mode & 0o111
    entry = {
        "path": path,
        "source": beside(source, service),
        "mode": mode or ("0755" if runs else "0644"),
    }
    service.files.append(entry)


def _devices(value: Any, service: Service) -> None:  # noqa: ANN401
    for device in value:
        node, *rest = parts(device["source"] if isinstance(device, Mapping) else device)
        service.more("devices", node)
        if rest and rest[0].startswith("/") and rest[0] != node:
            service.note(f"devices: {node} has its own name in the container, not {rest[0]}")


def _named_files(word: str, place: str) -> Word:
    """Return what carries `secrets` or `configs` over; the whole file says where they come from."""

    def carried(value: Any, service: Service) -> None:  # noqa: ANN401
        for file in value:
            source = as_written(file["source"] if isinstance(file, Mapping) else file)
            target = as_written(file.get("target", source)) if isinstance(file, Mapping) else source
            inside = target if target.startswith("/") else f"{place}{target}"
            service.more("binds", f"/{FOLDER}/{word}/{source}:{inside}:ro")
            if service.folder is None:
                service.note(
                    f"files: [{{path: {FOLDER}/{word}/{source}, source: FILE}}] at the top"
                )

    return carried


def _extra_hosts(value: Any, service: Service) -> None:  # noqa: ANN401
    found = value.items() if isinstance(value, Mapping) else (
        re.split("[=:]", as_written(host), maxsplit=1) for host in value
    )  # fmt: skip
    for name, address in found:
        service.hosts[name] = "127.0.0.1" if address == "host-gateway" else as_written(address)
    if service.folder is None:
        lines = "\\n".join(f"{address} {name}" for name, address in service.hosts.items())
        service.note(
            f"binds: [/{FOLDER}/hosts:/etc/hosts:ro], and files: [{{path: {FOLDER}/hosts, "
            f'contents: "{lines}\\n", mode: "0644"}}] at the top'
        )


def _container_name(value: Any, service: Service) -> None:  # noqa: ANN401
    if service.folder is None:
        service.note(f"name: {value}")
    else:
        service.hosts[as_written(value)] = "127.0.0.1"


def _hostname(value: Any, service: Service) -> None:  # noqa: ANN401
    service.entry |= {"hostname": as_written(value), "uts": "new"}


WORDS: Final[Mapping[str, Word]] = {
    "configs": _named_files("configs", "/"),
    "container_name": _container_name,
    "devices": _devices,
    "env_file": _env_file,
    "environment": _environment,
    "extra_hosts": _extra_hosts,
    "hostname": _hostname,
    "secrets": _named_files("secrets", "/run/secrets/"),
    "volumes": _volumes,
}
"""The words that are carried over here."""
