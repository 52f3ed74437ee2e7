"""Secrets: their values on /data, and the services that use them. No answer has a value in it."""

from __future__ import annotations

import os

from piimage_agent import services
from piimage_agent.refusal import Refused
from piimage_agent.root import (
    Root,
    assignments,
    is_file,
    names,
    read_text,
    remove,
    sync_folder,
    write_by_way_of,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LIMIT = 1 << 16
_LONGEST_NAME = 63
_SECTIONS = ("onboot", "services", "onshutdown")
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


def listed(root: Root) -> list[dict[str, Any]]:
    """Return each secret that is set or used: its name, its users, and whether it is set."""
    uses = _uses(root)
    return [
        {"name": name, "used": uses.get(name, []), "set": is_file(f"{_store(root)}/{name}")}
        for name in sorted({*uses, *filter(_is_name, names(_store(root)))})
    ]


def missing(root: Root, folder: str, name: str) -> list[str]:
    """Return the secrets without a value of a service of the mounted containers layer `folder`."""
    wanted = _secrets_of(f"{folder}/services/{name}")
    return [secret for secret in wanted if not is_file(f"{_store(root)}/{secret}")]


def put(root: Root, name: object, value: bytes, wait: float) -> dict[str, Any]:
    """Set a secret, and restart the services that use it; return them, and what went wrong."""
    name = _require(name)
    if not 0 < len(value) <= _LIMIT:
        raise Refused("bad-request", f"a secret has 1 to {_LIMIT} bytes")
    _write(root, name, value)
    used = _uses(root).get(name, [])
    running = [user.partition("/")[2] for user in used if user.startswith("services/")]
    running = [user for user in running if not _is_over(services.state(root, user))]
    troubles = {}
    for user in running:
        services.stop(root, user)
    for user in running:
        if trouble := services.start(root, user, wait):
            troubles[user] = trouble
    return {"used": used, "restarted": running, "troubles": troubles, **_lasting(root)}


def drop(root: Root, name: object) -> dict[str, Any]:
    """Remove a secret; return its users, which keep their copies until they are started again."""
    name = _require(name)
    if not is_file(f"{_store(root)}/{name}"):
        known = ", ".join(row["name"] for row in listed(root) if row["set"])
        raise Refused(
            "no-secret", f"the secret {name!r} is not set",
            f"these are set: {known}" if known else "no secret is set",
        )  # fmt: skip
    remove(f"{_store(root)}/{name}")
    sync_folder(_store(root))
    return {"used": _uses(root).get(name, []), **_lasting(root)}


def _write(root: Root, name: str, value: bytes) -> None:
    """Write a value that is whole, old or new, after a power cut; only root may read it."""
    folder = _store(root)
    if not os.path.isdir(folder):
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        os.mkdir(folder, 0o700)
        sync_folder(os.path.dirname(folder))
    # No name of a secret begins with a dot.
    write_by_way_of(f"{folder}/.new", f"{folder}/{name}", value, 0o600)


def _store(root: Root) -> str:
    return root.at("data/piimage/provision/secrets")


def _uses(root: Root) -> dict[str, list[str]]:
    """Return the containers that use each secret, as KIND/FOLDER."""
    uses: dict[str, list[str]] = {}
    for kind in _SECTIONS:
        section = f"{root.run}/containers/{kind}"
        for container in names(section):
            for secret in _secrets_of(f"{section}/{container}"):
                uses.setdefault(secret, []).append(f"{kind}/{container}")
    return uses


def _secrets_of(folder: str) -> list[str]:
    return assignments(read_text(f"{folder}/container.env")).get("SECRETS", "").split()


def _is_over(row: dict[str, Any]) -> bool:
    """Return whether somebody has stopped a service, or it has done its work."""
    over: bool = row["state"] == "stopped" or (row["state"] == "exited" and row["exit"] == 0)
    return over


def _lasting(root: Root) -> dict[str, bool]:
    return {"temporary": os.path.exists(f"{root.run}/data-is-temporary")}


def _is_name(name: str) -> bool:
    return 0 < len(name) <= _LONGEST_NAME and name[0] not in "_-" and _NAME.issuperset(name)


def _require(name: object) -> str:
    if isinstance(name, str) and _is_name(name):
        return name
    raise Refused("bad-request", "the request has no valid name of a secret")
