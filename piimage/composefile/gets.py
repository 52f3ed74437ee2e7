"""Converts what a Compose service sees: variables, volumes, files, devices, names.

Source: the Compose specification, "Services top-level elements".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

from piimage.composefile.service import Converter, Service, beside
from piimage.composefile.values import (
    as_written,
    pairs,
    parts,
    size,
)
from piimage.composefile.variables import settings

VOLUMES: Final = "/data/volumes"
"""The folder for named volumes on the Pi, on its data partition."""

FOLDER: Final = "etc/compose"
"""The folder of the Pi's system for files of the build host that services see."""

SECRETS_FOLDER: Final = "/run/secrets"
"""Where a container finds its secrets, in Compose and here."""

_MAX_FILES: Final = 200
_WINDOWS: Final = re.compile(r"[A-Za-z]:[\\/]")


def _environment(value: Any, service: Service) -> None:  # noqa: ANN401
    for name, text in pairs(value).items():
        if text is None:
            service.note(f"environment: {name} has no value; Compose would take this computer's")
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
                service.note(f"env_file: {path} cannot be read; add its lines to env:")
            continue
        for name, text in found.items():
            # The value is literal, and `environment` overrides it.
            if not any(text.startswith(f"{name}=") for text in service.entry.get("env", ())):
                service.add("env", f"{name}={text}".replace("${", "\0{"))


def _volumes(value: Any, service: Service) -> None:  # noqa: ANN401
    for volume in value:
        if isinstance(volume, Mapping):
            _mount(volume, service)
            continue
        if _WINDOWS.match(as_written(volume)):
            service.note(f"volumes: {volume}: not mounted, because this is a Windows path")
            continue
        source, target, *rest = found if len(found := parts(volume)) > 1 else ("", found[0])
        options = rest[0].split(",") if rest else []
        _bind(source, target, "ro" in options, service)


def _mount(volume: Mapping[str, Any], service: Service) -> None:
    target, kind = as_written(volume["target"]), volume.get("type", "volume")
    if kind == "tmpfs":
        tmpfs = volume.get("tmpfs") or {}
        options = [f"size={as_written(size(tmpfs['size'])).lower()}"] if "size" in tmpfs else []
        if "mode" in tmpfs:
            options.append(f"mode={as_written(tmpfs['mode']).replace('0o', '0')}")
        service.add("tmpfs", ":".join([target, ",".join(options)]) if options else target)
    elif kind in ("volume", "bind"):
        _bind(as_written(volume.get("source", "")), target, bool(volume.get("read_only")), service)
    else:
        service.note(f"volumes: {target}: a volume of the type {kind} is not mounted")


def _bind(source: str, target: str, read_only: bool, service: Service) -> None:
    option = ":ro" if read_only else ""
    if source.endswith("docker.sock"):
        service.note(f"volumes: {source}: not mounted, because the Pi has no Docker")
    elif source.startswith(("/dev/", "/sys/", "/proc/")) or source in ("/dev", "/sys", "/proc"):
        service.add("binds", f"{source}:{target}{option}")
    elif source.startswith(("/etc/localtime", "/etc/timezone")):
        service.note(f"volumes: {source}: use `timezone:` at the top level, and TZ= in env")
    elif source.startswith((".", "~")) and _exists(source, service):
        _add_to_system(source, target, read_only, service)
    else:
        path = f"{VOLUMES}/{_named(source) or _named(f'{service.name}{target}')}"
        service.add("binds", f"{path}:{target}{option}")
        made = service.entry.setdefault("runtime", {}).setdefault("mkdir", [])
        made.extend([path] if path not in made else [])
        if source.startswith(("/", ".", "~", "$")):
            service.note(f"volumes: {source} becomes {path} on the Pi, empty at first")


def _exists(source: str, service: Service) -> bool:
    """Return whether `source` exists; Docker makes an empty folder of a missing one."""
    return service.folder is None or (service.folder / Path(source).expanduser()).exists()


def _named(source: str) -> str:
    if variable := re.match(r"\$\{([A-Za-z0-9_]+)", source):
        return variable[1]
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", source).strip("-.")


def _add_to_system(source: str, target: str, read_only: bool, service: Service) -> None:
    """Make a file or folder beside the Compose file part of the system."""
    place = f"{FOLDER}/{service.name}/{_named(target)}"
    service.add("binds", f"/{place}:{target}:ro")
    if not read_only:
        service.note(f"volumes: {source} becomes part of the system, read-only at {target}")
    if service.folder is None:
        service.note(f"files: [{{path: {place}, source: {source}, mode: '0644'}}] at the top level")
        return
    top = service.folder / Path(source).expanduser()
    inner = (file for file in top.rglob("*") if file.is_file())
    found = sorted(islice(inner, _MAX_FILES + 1)) if top.is_dir() else [top]
    if len(found) > _MAX_FILES:
        service.note(f"volumes: {source} has over {_MAX_FILES} files; put them into an image")
        return
    if top.is_dir():
        service.files.append({"path": place, "directory": True, "mode": "0755"})
    for file in found:
        inside = f"/{file.relative_to(top)}" if top.is_dir() else ""
        add_file(service, f"{place}{inside}", file)


def add_file(service: Service, path: str, source: Path, mode: str | None = None) -> None:
    """Add the file `source` to the system at `path`."""
    executable = source.is_file() and source.stat().st_mode & 0o111
    entry = {
        "path": path,
        "source": beside(source, service),
        "mode": mode or ("0755" if executable else "0644"),
    }
    service.files.append(entry)


def _devices(value: Any, service: Service) -> None:  # noqa: ANN401
    for device in value:
        node, *rest = parts(device["source"] if isinstance(device, Mapping) else device)
        service.add("devices", node)
        if rest and rest[0].startswith("/") and rest[0] != node:
            service.note(f"devices: {node} keeps its name in the container; {rest[0]} is ignored")


def _configs(value: Any, service: Service) -> None:  # noqa: ANN401
    for source, target in _grants(value):
        inside = target if target.startswith("/") else f"/{target}"
        service.add("binds", f"/{FOLDER}/configs/{source}:{inside}:ro")
        if service.folder is None:
            service.note(
                f"files: [{{path: {FOLDER}/configs/{source}, source: FILE}}] at the top level"
            )


def _secrets(value: Any, service: Service) -> None:  # noqa: ANN401
    """Name the secrets; their values come to the Pi by another way, and into no image."""
    for source, target in _grants(value):
        inside = target if target.startswith("/") else f"{SECRETS_FOLDER}/{target}"
        name = _named(inside.rpartition("/")[2]).replace(".", "-")
        service.add("secrets", name)
        service.secrets[name] = source
        if inside != f"{SECRETS_FOLDER}/{name}":
            service.note(f"secrets: {source}: a file {SECRETS_FOLDER}/{name}, not {inside}")
        elif name != source:
            service.note(f"secrets: {source}: its name is {name} here")
        if service.folder is None:
            service.note(secret_hint(name, "FILE"))


def _grants(value: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401
    """Give the name at the top level and the place in the container of `secrets` or `configs`."""
    for item in value:
        grant = item if isinstance(item, Mapping) else {"source": item}
        source = as_written(grant["source"])
        yield source, as_written(grant.get("target", source))


def secret_hint(name: str, file: str) -> str:
    """Return how the value of a secret comes to the Pi."""
    return f"its value: piimage flash … --secret {name}={file}, or piimage secret set HOST {name}"


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
            f'contents: "{lines}\\n", mode: "0644"}}] at the top level'
        )


def _container_name(value: Any, service: Service) -> None:  # noqa: ANN401
    if service.folder is None:
        service.note(f"name: {value}")
    else:
        service.hosts[as_written(value)] = "127.0.0.1"


def _hostname(value: Any, service: Service) -> None:  # noqa: ANN401
    service.entry |= {"hostname": as_written(value), "uts": "new"}


CONVERTERS: Final[Mapping[str, Converter]] = {
    "configs": _configs,
    "container_name": _container_name,
    "devices": _devices,
    "env_file": _env_file,
    "environment": _environment,
    "extra_hosts": _extra_hosts,
    "hostname": _hostname,
    "secrets": _secrets,
    "volumes": _volumes,
}
"""The converters by key."""
