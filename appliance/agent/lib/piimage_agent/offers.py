"""What the answers of an update server say: when to call again, and what it offers.

Source: the documentation of Eclipse hawkBit, "DDI API".
"""

from __future__ import annotations

from piimage_agent.ddi import Server, Trouble, seconds_of
from piimage_agent.refusal import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DEFAULT_S, _LEAST_S = 300, 5
_NAME_LIMIT = 40


def interval(resource: dict[str, Any]) -> int:
    """Return the seconds that the server wants between two calls."""
    found: Any = resource
    for key in ("config", "polling", "sleep"):
        found = found.get(key) if isinstance(found, dict) else None
    seconds = seconds_of(found)
    return _DEFAULT_S if seconds is None else max(seconds, _LEAST_S)


def href(link: object) -> object:
    """Return the address of a link, whatever it is."""
    return link.get("href") if isinstance(link, dict) else None


def number(value: object) -> str:
    """Return the number of an action; raises Trouble."""
    text = str(value)
    if not text.removeprefix("-").isdigit() or not text.isascii() or len(text) > _NAME_LIMIT:
        raise Trouble("the server's action has no number")
    return text


def is_due(deployment: dict[str, Any]) -> bool:
    """Return whether the server wants the update now: a Pi fetches and installs in one go."""
    return (
        deployment.get("download") != "skip"
        and deployment.get("update") != "skip"
        and deployment.get("maintenanceWindow", "available") == "available"
    )


def artifact(server: Server, deployment: dict[str, Any]) -> tuple[str, int]:
    """Return the path and the size of the only .swu of a deployment; raises Refused."""
    found = [entry for entry in _artifacts(deployment) if _is_bundle(entry)]
    if len(found) != 1:
        raise Refused("bad-bundle", f"the action has {len(found)} bundles (.swu)")
    (entry,) = found
    links, size = entry.get("_links"), entry.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 < size < 1 << 40:
        raise Refused("bad-bundle", "the bundle on the server has no size")
    links = links if isinstance(links, dict) else {}
    schemes = ("download", "download-http")
    hrefs = [href(links[name]) for name in schemes if name in links]
    for found_href in hrefs[:-1]:
        try:
            return server.path_of(found_href), size
        except Trouble:
            continue
    return server.path_of(hrefs[-1] if hrefs else None), size


def _artifacts(deployment: dict[str, Any]) -> list[dict[str, Any]]:
    chunks = deployment.get("chunks")
    every: list[dict[str, Any]] = []
    for chunk in chunks if isinstance(chunks, list) else []:
        listed = chunk.get("artifacts") if isinstance(chunk, dict) else None
        every += [entry for entry in listed or [] if isinstance(entry, dict)]
    return every


def _is_bundle(entry: dict[str, Any]) -> bool:
    return str(entry.get("filename")).endswith(".swu")
