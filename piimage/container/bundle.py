"""The folders of the containers layer, as appliance/README.md specifies them.

busybox sh on the Pi runs the scripts written here; every value in them is quoted.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

from piimage.config.container import ContainerConfig
from piimage.config.device import IdMapping
from piimage.config.runtime import Runtime
from piimage.config.schedule import times_of
from piimage.config.secret import SECRETS_FOLDER
from piimage.container.ids import SIZE, first_id, has_range
from piimage.container.mounts import CONTROL_FOLDER, FoundDevice, complete_mount, shares
from piimage.container.offsets import span
from piimage.container.rootfs import ProcessUser
from piimage.container.spec import Container, run_as, runtime_spec
from piimage.errors import InputError, PiimageError, raise_all
from piimage.oci.models import canonical_json
from piimage.trees import Entry, file, folder

# Process 1 must kill the runner only after the runner has killed the task through containerd.
# finit 4.12 ignores a number above 60 (src/service.c).
_KILL: Final = 60
# Paths that need no quoting in a blank-separated list of sh.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./@%+=:,-]+")
_HOOK: Final = "/usr/lib/piimage/hook"
_OWN_MOUNTS: Final = (CONTROL_FOLDER, SECRETS_FOLDER)
_DATA_FOLDERS: Final = ("/data/", "/var/")


def folder_name(kind: str, number: int, name: str) -> str:
    """Return the folder of container `number` (from 0) of a section; services have no order."""
    return name if kind == "services" else f"{number:03d}-{name}"


def containers_tree(
    containers: Sequence[Container], ids: Mapping[str, int], architecture: str = "arm64"
) -> Iterator[Entry]:
    """Yield the entries of the containers layer.

    Raises what `bundle` raises, for all containers together.
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
    """Yield the entries of one container's folder.

    Raises what `runtime_spec` raises, and InputError ``oci.mount-point``.
    """
    spec = runtime_spec(container, ids, architecture)
    path = f"{container.kind}/{container.folder}"
    user = run_as(container, ids)
    scripts = {"prestart": prestart(container, user), "poststart": poststart(container)}
    if scripts["poststart"] and container.kind != "services":
        hooks = {"createRuntime": [_hook(f"/containers/{path}/poststart")]}
        spec = {**spec, "hooks": spec.get("hooks", {}) | hooks}
    yield folder(path)
    yield file(f"{path}/config.json", canonical_json(spec))
    yield file(f"{path}/layers", "".join(f"{digest}\n" for digest in container.layers).encode())
    yield file(f"{path}/container.env", environment(container, spec).encode())
    for name, text in scripts.items():
        if text:
            yield file(f"{path}/{name}", text.encode())
    if (hook := container.config.before_update) is not None:
        yield file(f"{path}/before_update", canonical_json(hook.model_dump(mode="json")))


def _hook(script: str) -> dict[str, Any]:
    """Return the hook by which runc runs `script` before the container's process starts.

    A container that runs once could end before any other program ran the script. Source: OCI
    runtime specification, config.md, "POSIX-platform Hooks".
    """
    return {"path": _HOOK, "args": [_HOOK.rpartition("/")[2], script]}


def stanza(container: Container) -> str:
    """Return the line by which process 1 keeps a service's runner alive."""
    name = container.name
    return (
        f"service [2345] name:{name} restart:always restart_sec:1 kill:{_KILL} log:null "
        f"/usr/lib/piimage/service {name} -- {name}\n"
    )


# --- container.env


def environment(container: Container, spec: Mapping[str, Any]) -> str:
    """Return container.env: lines ``KEY='value'`` for sh, without empty values."""
    config = container.config
    values: dict[str, str] = {"READONLY": "1" if config.readonly else "0"}
    if config.cgroups_path:
        values["GROUP"] = config.cgroups_path.strip("/")
    values["POINTS"] = " ".join(mount_points(container, spec))
    values |= _made_first(container, spec)
    values |= _insertions(container, spec) | _control(container, spec)
    values |= _secrets(container, spec)
    values |= _lifecycle(config) | _health(config) | _schedule(config)
    if not config.readonly and config.uid_mappings and config.gid_mappings:
        owner = (_on_host(config.uid_mappings, 0), _on_host(config.gid_mappings, 0))
        values["UPPER_OWNER"] = f"{owner[0]}:{owner[1]}"
    if has_range(config, container.name):
        values["IDMAP"] = f"b:0:{first_id(container.name)}:{SIZE}"
    return "".join(f"{key}={quote(value)}\n" for key, value in values.items() if value)


def _made_first(container: Container, spec: Mapping[str, Any]) -> dict[str, str]:
    """Return the folders that the runner makes before the start, and their owner unless root."""
    number = spec["process"]["user"]
    owner = _owner(container, ProcessUser(number["uid"], number["gid"]))
    folders = (
        _bound_folders(container)
        if owner
        else [*_requested_folders(container), *_bound_folders(container)]
    )
    made = " ".join(path for path in dict.fromkeys(folders) if _PLAIN.fullmatch(path))
    return {"MKDIR": made, "MKDIR_OWNER": owner if made else ""}


def _control(container: Container, spec: Mapping[str, Any]) -> dict[str, str]:
    """Return the owner of the pipe by which the container has services restarted."""
    if not container.config.control:
        return {}
    number = spec["process"]["user"]
    owner = _owner(container, ProcessUser(number["uid"], number["gid"]))
    return {"CONTROL": owner or "0:0"}


def _secrets(container: Container, spec: Mapping[str, Any]) -> dict[str, str]:
    """Return the names of the container's secrets, and who owns them unless root."""
    if not container.config.secrets:
        return {}
    number = spec["process"]["user"]
    owner = _owner(container, ProcessUser(number["uid"], number["gid"]))
    names = " ".join(sorted({*container.config.secrets}))
    return {"SECRETS": names, "SECRETS_OWNER": owner}


def _insertions(container: Container, spec: Mapping[str, Any]) -> dict[str, str]:
    """Return the offsets in bytes at which the Pi inserts its own values into config.json.

    Rules for devices are inserted after the first rule, which denies all. A setting of the card
    replaces the variable of its name (``OFFSET:LENGTH``), or becomes the last variable.
    """
    values: dict[str, str] = {}
    if container.devices:
        offset, length = span(spec, ("linux", "resources", "devices", 0))
        values["DEVICES_AT"] = str(offset + length)
    env = spec["process"]["env"]
    # If a variable is repeated, the last one counts.
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
        values["LOG_KEEP"] = "data" if config.log.keep == "data" else ""
    return values


def _schedule(config: ContainerConfig) -> dict[str, str]:
    """Return when a service runs, as lists of numbers: the Pi compares and computes nothing."""
    schedule = config.schedule
    if schedule is None:
        return {}
    if schedule.every is not None:
        return {"SCHEDULE_EVERY": str(schedule.every)}
    times = times_of(schedule.cron or "")
    names = ("MINUTES", "HOURS", "DAYS", "MONTHS", "WEEKDAYS")
    values = {
        f"SCHEDULE_{name}": " ".join(map(str, numbers))
        for name, numbers in zip(names, times, strict=True)
    }
    _, _, day, _, weekday = (schedule.cron or "").split()
    both = not day.startswith("*") and not weekday.startswith("*")
    return {**values, "SCHEDULE_EITHER": "1" if both else ""}


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
    """Return `value` in single quotes for sh; it may contain any character but NUL."""
    return "'" + value.replace("'", "'\\''") + "'"


def mount_points(container: Container, spec: Mapping[str, Any]) -> list[str]:
    """Return the mount points that a read-only root lacks, folders with ``/`` at the end.

    runc creates them in a writable root; a mount point inside another mount belongs to that.
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
    """Yield the program's working directory if the root lacks it: runc would try to create it."""
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
            f"{container.name} needs {path!r}, which its image lacks",
            place=container.place,
            hint="create the folder in the image, or use a path of letters and digits",
        )


def _is_folder(mount: Mapping[str, Any]) -> bool:
    """Tell whether a folder is mounted; for a bind this is a guess from the source's name."""
    if mount["type"] != "bind" or mount.get("destination") in _OWN_MOUNTS:
        return True
    source = PurePosixPath(mount["source"])
    return str(source) == "/" or source.suffix in ("", ".d") or source.name.startswith(".")


def _requested_folders(container: Container) -> list[str]:
    """Return the folders of `mkdir:`, which are root's as in LinuxKit."""
    runtime = container.config.runtime
    return list((runtime.mkdir if runtime else None) or ())


def _bound_folders(container: Container) -> list[str]:
    """Return the folders in the data that are bound, each after those that contain it."""
    config = container.config
    mounts = [complete_mount(mount) for mount in config.mounts or ()]
    sources = [text.split(":")[0] for text in config.binds or ()]
    sources += [mount["source"] for mount in mounts if mount["type"] == "bind"]
    return sorted(
        {
            source
            for source in sources
            if f"{source}/".startswith(_DATA_FOLDERS)
            and _is_folder({"type": "bind", "source": source})
        }
    )


def _owner(container: Container, user: ProcessUser) -> str:
    """Return ``UID:GID`` of the container's user on the host; empty for root."""
    config = container.config
    uid = _on_host(config.uid_mappings or (), user.uid)
    gid = _on_host(config.gid_mappings or (), user.gid)
    return f"{uid}:{gid}" if uid or gid else ""


# --- prestart and poststart


def prestart(container: Container, user: ProcessUser) -> str:
    """Return the script that runs before the start, for LinuxKit's `runtime:` and for devices.

    Source: LinuxKit, pkg/init/cmd/service/prepare.go. Mounts come before folders, so that a folder
    can be created inside a mount.
    """
    runtime = container.config.runtime
    lines: list[str] = []
    if runtime is not None:
        for mount in runtime.mounts or ():
            lines += _host_mount(complete_mount(mount))
        for path in runtime.cgroups or ():
            lines.append(f"mkdir -p {quote('/sys/fs/cgroup/piimage/' + path.strip('/'))}")
    mounts = bool(runtime is not None and runtime.mounts)
    lines += _made_later(container, _owner(container, user), after_mounts=mounts)
    lines += [_grant(container, device, user) for device in container.devices]
    return "".join(f"{line}\n" for line in lines)


def _made_later(container: Container, owner: str, *, after_mounts: bool) -> Iterator[str]:
    """Yield the lines that make the folders which MKDIR of container.env cannot hold."""
    bound = _bound_folders(container)
    for path in bound:
        if after_mounts or not _PLAIN.fullmatch(path):
            yield f"make_folder {quote(path)} {owner or '0:0'}"
    for path in _requested_folders(container):
        if path not in bound and (owner or after_mounts or not _PLAIN.fullmatch(path)):
            yield f"mkdir -p {quote(path)}"


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
    folders = [f"mkdir -p {quote(path)}" for path in paths]
    # After a restart it is mounted already.
    check = f"is_mounted {quote(mount['destination'])} ||"
    return [*folders, f"{check} {' '.join(quote(word) for word in words)}"]


def _grant(container: Container, device: FoundDevice, user: ProcessUser) -> str:
    """Return the line that copies a node of /dev for the container's user and allows only that."""
    owner = _owner(container, user) or "0:0"
    folder_word = quote(f"{container.kind}/{container.folder}")
    words = (quote(device.path), device.type, device.mode, owner, quote(device.node))
    return f"grant_device {folder_word} {' '.join(words)}"


def _on_host(mappings: Iterable[IdMapping], inside: int) -> int:
    """Return the host's id for the id `inside` a user namespace."""
    for mapping in mappings:
        if mapping.container_id <= inside < mapping.container_id + mapping.size:
            return mapping.host_id + inside - mapping.container_id
    return inside


def poststart(container: Container) -> str:
    """Return the script that moves interfaces and keeps namespaces, with ``$PID`` set."""
    runtime = container.config.runtime
    if runtime is None:
        return ""
    lines = [*_interfaces(runtime), *_kept_namespaces(runtime)]
    return "".join(f"{line}\n" for line in lines)


def _interfaces(runtime: Runtime) -> Iterator[str]:
    for interface in runtime.interfaces or ():
        name = quote(interface.name)
        kind = interface.add or ("veth" if interface.peer else None)
        if kind == "veth":
            yield f"add_veth {name} {quote(interface.peer or '')}"
        elif kind and interface.create_in_root:
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
