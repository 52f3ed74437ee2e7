"""The containers layer: each container's folder, as appliance/README.md states it.

The scripts written here are read by busybox sh on the Pi; every value in them is quoted.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

from piimage.config.container import ContainerConfig
from piimage.config.runtime import Runtime
from piimage.container.mounts import FoundDevice, complete_mount, shares
from piimage.container.offsets import span
from piimage.container.rootfs import User
from piimage.container.spec import Container, run_as, runtime_spec
from piimage.errors import InputError, PiimageError, raise_all
from piimage.oci.models import canonical_json
from piimage.trees import Entry, file, folder

# Process 1 kills the runner only after the runner killed the task, and had its turns at containerd.
# More than 60 it takes for no number at all (finit 4.12, src/service.c).
_KILL: Final = 60
# Paths that sh's blank-separated lists can hold as they are.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./@%+=:,-]+")
_HOOK: Final = "/usr/lib/piimage/hook"
_MADE_BELOW: Final = ("/data/", "/var/")


def folder_name(kind: str, number: int, name: str) -> str:
    """Return the folder of container `number` (from 0) of its section; services have no order."""
    return name if kind == "services" else f"{number:03d}-{name}"


def containers_tree(
    containers: Sequence[Container], ids: Mapping[str, int], architecture: str = "arm64"
) -> Iterator[Entry]:
    """Give the entries of the containers layer.

    Raises what `runtime_spec` raises, ``oci.unsupported`` and ``oci.mount-point``, of all
    containers together.
    """
    errors: list[PiimageError] = []
    bundles: list[list[Entry]] = []
    for container in containers:
        try:
            bundles.append(list(bundle(container, ids, architecture)))
        except PiimageError as error:
            errors.append(error)
    raise_all(errors)
    for name in ("onboot", "services", "onshutdown", "finit.d"):
        yield folder(name)
    for entries in bundles:
        yield from entries
    for container in containers:
        if container.kind == "services":
            yield file(f"finit.d/{container.name}.conf", stanza(container).encode())


def bundle(
    container: Container, ids: Mapping[str, int], architecture: str = "arm64"
) -> Iterator[Entry]:
    """Give the entries of one container's folder."""
    spec = runtime_spec(container, ids, architecture)
    at = f"{container.kind}/{container.folder}"
    user = run_as(container, ids)
    scripts = {"prestart": prestart(container, user), "poststart": poststart(container)}
    if scripts["poststart"] and container.kind != "services":
        spec = {**spec, "hooks": {"createRuntime": [_hook(f"/containers/{at}/poststart")]}}
    yield folder(at)
    yield file(f"{at}/config.json", canonical_json(spec))
    yield file(f"{at}/layers", "".join(f"{digest}\n" for digest in container.layers).encode())
    yield file(f"{at}/container.env", environment(container, spec).encode())
    for name, text in scripts.items():
        if text:
            yield file(f"{at}/{name}", text.encode())


def _hook(script: str) -> dict[str, Any]:
    """Return what has runc itself run `script`, before the container's process starts.

    What runs once may have ended before anybody else could. Source: OCI runtime specification,
    config.md, "POSIX-platform Hooks".
    """
    return {"path": _HOOK, "args": [_HOOK.rpartition("/")[2], script]}


def stanza(container: Container) -> str:
    """Return the line that has process 1 keep a service's runner alive."""
    name = container.name
    return (
        f"service [2345] name:{name} restart:always restart_sec:1 kill:{_KILL} log:null "
        f"/usr/lib/piimage/service {name} -- {name}\n"
    )


# --- container.env


def environment(container: Container, spec: Mapping[str, Any]) -> str:
    """Return container.env: lines ``KEY='value'`` for sh, only what is not the default."""
    config = container.config
    values: dict[str, str] = {"READONLY": "1" if config.readonly else "0"}
    values["POINTS"] = " ".join(mount_points(container, spec))
    values["MKDIR"] = " ".join(path for path in _folders(container) if _PLAIN.fullmatch(path))
    values |= _insertions(container, spec)
    values |= _lifecycle(config) | _health(config)
    if not config.readonly and config.uid_mappings and config.gid_mappings:
        owner = (_on_host(config.uid_mappings, 0), _on_host(config.gid_mappings, 0))
        values["UPPER_OWNER"] = f"{owner[0]}:{owner[1]}"
    return "".join(f"{key}={quote(value)}\n" for key, value in values.items() if value)


def _insertions(container: Container, spec: Mapping[str, Any]) -> dict[str, str]:
    """Return where in config.json the Pi puts what is known there alone, as offsets in bytes.

    Rules for devices go behind the first one, which closes all. A setting of the card takes the
    place of the variable of its name (``OFFSET:LENGTH``), or comes last in the environment.
    """
    values: dict[str, str] = {}
    if container.devices:
        offset, length = span(spec, ("linux", "resources", "devices", 0))
        values["DEVICES_AT"] = str(offset + length)
    env = spec["process"]["env"]
    # Of two variables of one name the last one counts.
    indexes = {text.partition("=")[0]: index for index, text in enumerate(env)}
    places = {name: indexes.get(name, len(env)) for name in container.config.settings or ()}
    names = sorted(places, key=lambda name: places[name])
    spans = [span(spec, ("process", "env", places[name])) for name in names]
    values["SETTINGS"] = " ".join(names)
    values["ENV_AT"] = " ".join(f"{offset}:{length}" for offset, length in spans)
    return values


def _lifecycle(config: ContainerConfig) -> dict[str, str]:
    values = {"REQUIRED": "1" if config.required else "", "AFTER": " ".join(config.after or ())}
    if config.timeout:
        values["TIMEOUT"] = str(config.timeout)
    if config.stop_timeout is not None:
        values["STOP_TIMEOUT"] = str(config.stop_timeout)
    if config.restart is not None:
        values["RESTART"] = config.restart.policy
        values["BACKOFF_MIN"] = str(config.restart.backoff.least)
        values["BACKOFF_MAX"] = str(config.restart.backoff.most)
    if config.log is not None:
        values["LOG_SIZE"] = str(config.log.size)
        values["LOG_COUNT"] = str(config.log.count)
    return values


def _health(config: ContainerConfig) -> dict[str, str]:
    health = config.health
    if health is None:
        return {}
    if health.command is not None:
        kind, target = "command", shlex.join(health.command)
    else:
        kind, target = ("http", health.http) if health.http else ("tcp", health.tcp or "")
    return {
        "HEALTH_KIND": kind,
        "HEALTH_TARGET": target,
        "HEALTH_EVERY": str(health.every),
        "HEALTH_TIMEOUT": str(health.timeout),
        "HEALTH_RETRIES": str(health.retries),
        "HEALTH_START": str(health.start),
        "HEALTH_NETNS": "" if shares(config.net, "host") else "1",
    }


def quote(value: str) -> str:
    """Return `value` in single quotes for sh; it may hold anything but NUL."""
    return "'" + value.replace("'", "'\\''") + "'"


def mount_points(container: Container, spec: Mapping[str, Any]) -> list[str]:
    """Return the mount points that a read-only root lacks, folders with ``/`` at the end.

    A writable root grows them by itself; what lies below another mount is that mount's.
    """
    if not container.config.readonly:
        return []
    destinations = [mount["destination"].rstrip("/") for mount in spec["mounts"]]
    points = []
    for mount in spec["mounts"]:
        path = mount["destination"].rstrip("/")
        if any(path.startswith(f"{other}/") for other in destinations):
            continue
        real, kind = container.root.find(path)
        if kind is not None:
            continue
        _require_plain(container, path, real)
        points.append(f"{real}/" if _is_folder(mount) else real)
    return [*points, *_working_folder(container, spec, destinations)]


def _working_folder(
    container: Container, spec: Mapping[str, Any], destinations: Sequence[str]
) -> Iterator[str]:
    """Give the folder that the program starts in, if it is nowhere: runc would want to make it."""
    path = str(spec["process"]["cwd"]).rstrip("/")
    if not path or any(f"{path}/".startswith(f"{other}/") for other in destinations):
        return
    real, kind = container.root.find(path)
    if kind is None:
        _require_plain(container, path, real)
        yield f"{real}/"


def _require_plain(container: Container, path: str, real: str) -> None:
    if not _PLAIN.fullmatch(real):
        raise InputError(
            "oci.mount-point",
            f"{container.name} needs {path!r}, which its image does not have",
            place=container.place,
            hint="make that folder in the image, or use a path of letters and digits",
        )


def _is_folder(mount: Mapping[str, Any]) -> bool:
    """Guess whether what is mounted is a folder, from the look of its name where it is a bind."""
    if mount["type"] != "bind":
        return True
    source = PurePosixPath(mount["source"])
    return str(source) == "/" or source.suffix in ("", ".d") or source.name.startswith(".")


def _folders(container: Container) -> list[str]:
    """Return the host folders that have to be there: as asked, and sources of binds in the data."""
    config = container.config
    asked = list((config.runtime.mkdir if config.runtime else None) or ())
    sources = [text.split(":")[0] for text in config.binds or ()]
    bound = [
        source
        for source in sources
        if f"{source}/".startswith(_MADE_BELOW) and _is_folder({"type": "bind", "source": source})
    ]
    return list(dict.fromkeys([*asked, *bound]))


# --- prestart and poststart


def prestart(container: Container, user: User) -> str:
    """Return the script for LinuxKit's `runtime` section and for devices, before the start.

    Sources: LinuxKit, pkg/init/cmd/service/prepare.go. Mounts come before folders, so that a
    folder can be made below a mount.
    """
    runtime = container.config.runtime
    lines: list[str] = []
    if runtime is not None:
        for mount in runtime.mounts or ():
            lines += _host_mount(complete_mount(mount))
        for path in runtime.cgroups or ():
            lines.append(f"mkdir -p {quote('/sys/fs/cgroup/piimage/' + path.strip('/'))}")
    for path in _folders(container):
        if not _PLAIN.fullmatch(path) or (runtime is not None and runtime.mounts):
            lines.append(f"mkdir -p {quote(path)}")
    lines += [_granted(container, device, user) for device in container.devices]
    return "".join(f"{line}\n" for line in lines)


def _host_mount(mount: Mapping[str, Any]) -> list[str]:
    options = list(mount.get("options", ()))
    paths = [mount["destination"]]
    for option in options:
        key, equals, value = option.partition("=")
        if equals and key in ("upperdir", "workdir"):
            paths.append(value)
    words = ["mount", "-t", mount["type"]]
    if options:
        words += ["-o", ",".join(options)]
    words += [mount["source"], mount["destination"]]
    made = [f"mkdir -p {quote(path)}" for path in paths]
    # A restart finds it mounted.
    check = f"is_mounted {quote(mount['destination'])} ||"
    return [*made, f"{check} {' '.join(quote(word) for word in words)}"]


def _granted(container: Container, device: FoundDevice, user: User) -> str:
    """Return the line that copies a node of /dev for the container's user, and opens that alone."""
    config = container.config
    uid = _on_host(config.uid_mappings or (), user.uid)
    gid = _on_host(config.gid_mappings or (), user.gid)
    whose = quote(f"{container.kind}/{container.folder}")
    words = (quote(device.path), device.type, device.mode, f"{uid}:{gid}", quote(device.node))
    return f"grant_device {whose} {' '.join(words)}"


def _on_host(mappings: Iterable[Any], inside: int) -> int:
    """Return the host's id of the id `inside` a user namespace."""
    for one in mappings:
        if one.container_id <= inside < one.container_id + one.size:
            return int(one.host_id) + inside - int(one.container_id)
    return inside


def poststart(container: Container) -> str:
    """Return the script that moves interfaces and keeps namespaces, with ``$PID`` set."""
    runtime = container.config.runtime
    if runtime is None:
        return ""
    lines = [*_interfaces(runtime), *_kept_namespaces(runtime)]
    return "".join(f"{line}\n" for line in lines)


def _interfaces(runtime: Runtime) -> Iterator[str]:
    for one in runtime.interfaces or ():
        name = quote(one.name)
        kind = one.add or ("veth" if one.peer else None)
        if kind == "veth":
            yield f"add_veth {name} {quote(one.peer or '')}"
        elif kind and one.create_in_root:
            yield f"ip link add name {name} type {quote(kind)}"
        elif kind:
            yield f"nsenter -t $PID -n ip link add name {name} type {quote(kind)}"
            continue
        yield f"ip link set dev {name} netns $PID"


def _kept_namespaces(runtime: Runtime) -> Iterator[str]:
    if runtime.bind_ns is None:
        return
    for name in ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts"):
        path = getattr(runtime.bind_ns, name)
        if path:
            yield f"mkdir -p {quote(str(PurePosixPath(path).parent))}"
            yield f": >{quote(path)}"
            yield f"mount -o bind /proc/$PID/ns/{name} {quote(path)}"
