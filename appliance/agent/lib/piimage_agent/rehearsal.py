"""Rehearsals: a changed service runs beside the present version before that version is stopped.

The rehearsal has an isolated network, no devices, and copies of the folders that it may write to,
so that it has no visible effect outside. The real start decides on whatever a rehearsal cannot
show; a failure counts only if the present version passes the same rehearsal.
"""

from __future__ import annotations

import json
import os

from piimage_agent import services, status
from piimage_agent.root import Root, is_file, read_text, write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

_ROOT_HOOK = "createContainer"  # keeps devices from being opened in the service's own root
_NETWORK_HOOK = "createRuntime"
_BRIDGE = "/usr/lib/piimage/bridge"  # connects a network to the bridge, and nothing else
_ROOTS = "/run/piimage/rootfs/rehearsal"
_CONFIG_LIMIT = 1 << 20
# Folders that can be copied: data, and volumes that containers share.
_COPIED = ("/data/", "/run/piimage/rootfs/volumes/")
_SECRETS = "/run/piimage/secrets/"
# Types of mounts that show only what every container sees.
_INNER = ("proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup")
_OWN = ("network", "ipc", "uts")  # namespaces, in addition to those of every container
_SPARE_MEMORY = 96 << 20  # includes its writes, at most 32 MiB
_MARGIN_S = 150.0  # for slow Pis and a slow last check
_DISPENSABLE = 1000  # oom_score_adj(5): the first process to be killed


def objection(
    root: Root, before: str, after: str, name: str, wait: float, begin: Callable[[], None]
) -> str | None:
    """Return why the service of containers layer `after` should not replace that of `before`.

    The reason is empty if the rehearsal succeeded. None if it would prove nothing: the service
    reaches out of its container, there is no memory for two, or the present version fails as well.
    `begin` is called before each try. Raises Refused ``rehearse`` if a rehearsal cannot start.
    """
    if not _has_room(root, name) or not (_fits(root, before, name) and _fits(root, after, name)):
        return None
    begin()
    reason = _rehearsed(root, after, name, wait)
    if not reason:
        return ""
    begin()
    return None if _rehearsed(root, before, name, wait) else reason


def _rehearsed(root: Root, layer: str, name: str, wait: float) -> str:
    """Run a service for a rehearsal; return the reason for its failure, or an empty text."""
    try:
        place = _rehearse(root, 60, "--prepare", layer, name)
        folder = f"{root.run}/rehearsal/{name}"
        config = json.loads(read_text(root.at(place.lstrip("/")), _CONFIG_LIMIT))
        _make_copies(root, folder, list(_confine(root, config, name)))
        write_file(f"{folder}/config.json", json.dumps(config).encode())
        longest = wait + services.patience(services.folder_of(root, layer), name) + _MARGIN_S
        return _rehearse(root, longest, layer, name, str(int(wait)))
    except BaseException:
        _rehearse(root, 60, "--clean", layer, name)
        raise


def _rehearse(root: Root, timeout: float, *words: str) -> str:
    program = root.at("usr/lib/piimage/rehearse")
    return services.call(["rehearse", *words], program, timeout, "rehearse")


def _make_copies(root: Root, folder: str, sources: list[str]) -> None:
    """Make the folders of the overlays; a copy has the owner of its folder."""
    for number, source in enumerate(sources):
        found = os.stat(root.at(source.lstrip("/")))
        copy = f"{folder}/scratch/{number}"
        for part in ("", "/upper", "/work", "/merged"):
            os.mkdir(f"{copy}{part}", 0o700)
        os.chown(f"{copy}/upper", found.st_uid, found.st_gid)
        os.chmod(f"{copy}/upper", found.st_mode & 0o7777)
    lines = "".join(f"{number} {source}\n" for number, source in enumerate(sources))
    write_file(f"{folder}/copies", lines.encode())


def _has_room(root: Root, name: str) -> bool:
    """Return whether the service may run twice."""
    used: int = services.state(root, name)["memory"] or 0
    return status.memory(root)["available"] - used > _SPARE_MEMORY


def _fits(root: Root, layer: str, name: str) -> bool:
    """Return whether this version of the service has no visible effect outside."""
    folder = f"{services.folder_of(root, layer)}/services/{name}"
    if "SCHEDULE_" in read_text(f"{folder}/container.env"):
        return False  # a rehearsal would do the work of its next run
    if any(os.path.exists(f"{folder}/{script}") for script in ("prestart", "poststart")):
        return False
    try:
        config = json.loads(read_text(f"{folder}/config.json", _CONFIG_LIMIT))
        if any(_reaches_out(root, config)):
            return False
        list(_confine(root, config, name))  # raises now for a config.json that cannot be confined
        return True
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def _reaches_out(root: Root, config: dict[str, Any]) -> Iterator[bool]:
    linux = config["linux"]
    kinds = {namespace["type"] for namespace in linux["namespaces"]}
    yield bool(config["process"].get("capabilities"))
    yield "/proc/sys" not in linux.get("readonlyPaths", ())
    yield bool(linux.get("devices") or linux.get("rootfsPropagation"))
    hooks = config.get("hooks", {})
    yield bool(set(hooks) - {_ROOT_HOOK, _NETWORK_HOOK})
    yield any(hook["path"] != _BRIDGE for hook in hooks.get(_NETWORK_HOOK, ()))
    yield any(rule["allow"] for rule in linux["resources"]["devices"])
    yield any("path" in namespace for namespace in linux["namespaces"])
    yield "user" in kinds or not {"pid", "mount"} <= kinds
    for mount in config["mounts"]:
        kind = mount.get("type")
        yield kind not in _INNER and (kind != "bind" or _binds_more(root, mount))


def _is_secrets(mount: dict[str, Any]) -> bool:
    """Return whether a mount has the secrets of a service; the rehearsal gets its own copy."""
    found: bool = mount.get("source", "").startswith(_SECRETS)
    return found


def _binds_more(root: Root, mount: dict[str, Any]) -> bool:
    """Return whether a bind is neither a folder to copy nor a read-only file.

    A read-only folder is copied as well, because it may have a socket to another service.
    """
    if _is_secrets(mount):
        return False
    source = mount["source"]
    place = root.at(source.lstrip("/"))
    if "ro" in mount.get("options", ()):
        known = os.path.isdir(place) or is_file(os.path.realpath(place))
    else:
        known = source.startswith(_COPIED) and os.path.isdir(place)
    # The mount options of overlayfs cannot contain some characters.
    return not known or ".." in source.split("/") or not {*":,\\\n"}.isdisjoint(source)


def _folders(root: Root, config: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the mounts of the host's folders."""
    binds = [mount for mount in config["mounts"] if mount.get("type") == "bind"]
    binds = [mount for mount in binds if not _is_secrets(mount)]
    return [mount for mount in binds if os.path.isdir(root.at(mount["source"].lstrip("/")))]


def _confine(root: Root, config: dict[str, Any], name: str) -> Iterator[str]:
    """Change a config.json for a rehearsal, and give the folders to copy."""
    folder = f"/run/piimage/rehearsal/{name}"
    for number, mount in enumerate(_folders(root, config)):
        yield mount["source"]
        mount["source"] = f"{folder}/scratch/{number}/merged"
        only = ["ro"] if "ro" in mount.get("options", ()) else []
        mount["options"] = ["rbind", "rprivate", *only]
    for mount in config["mounts"]:
        if _is_secrets(mount):
            mount["source"] = f"{_SECRETS}rehearsal/{name}"
        if mount.get("type") == "sysfs":
            mount["options"] = [*mount.get("options", ()), "ro"]
    linux = config["linux"]
    kept = [namespace for namespace in linux["namespaces"] if namespace["type"] not in _OWN]
    linux["namespaces"] = [*kept, *({"type": kind} for kind in _OWN)]
    linux["cgroupsPath"] = f"/piimage/rehearsal/{name}"
    config["root"]["path"] = f"{_ROOTS}/{name}"
    for hook in (_ROOT_HOOK, _NETWORK_HOOK):
        config.get("hooks", {}).pop(hook, None)
    config["process"]["oomScoreAdj"] = _DISPENSABLE
