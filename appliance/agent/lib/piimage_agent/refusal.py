"""Refusals of the agent, as the tool shows them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Refused(Exception):
    """The agent refuses a request and changes nothing. `code` is stable."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.hint = hint

    def as_reply(self) -> dict[str, Any]:
        """Return the reply to the tool."""
        error = {"code": self.code, "message": self.message, "hint": self.hint}
        return {"ok": False, "error": error}


def text_of(request: dict[str, Any], key: str, limit: int = 200) -> str:
    """Return a text of the request."""
    value = request.get(key)
    if not isinstance(value, str) or len(value) > limit:
        raise Refused(
            "bad-request", f"{key!r} of the request is not a text of at most {limit} characters"
        )
    return value


def number_of(request: dict[str, Any], key: str, low: int, high: int, default: int = -1) -> int:
    """Return an integer of the request; `default` if it has none and `default` is not -1."""
    value = request.get(key, None if default == -1 else default)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise Refused("bad-request", f"{key!r} of the request is not a number from {low} to {high}")
    return value


def digest_of(value: object) -> str:
    """Return `value` if it is a SHA-256 in lower-case hexadecimal digits."""
    if not isinstance(value, str) or len(value) != 64 or value.strip("0123456789abcdef"):
        raise Refused("bad-request", "a layer is not named by its SHA-256")
    return value


def digests_of(request: dict[str, Any], key: str) -> list[str]:
    """Return a list of digests of the request."""
    value = request.get(key)
    if not isinstance(value, list) or len(value) > 4096:
        raise Refused("bad-request", f"{key!r} of the request is not a list of at most 4096 layers")
    return [digest_of(digest) for digest in value]


_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


def is_name(value: object) -> bool:
    """Return whether `value` can be a service's name: a single part of a path, and not ``..``."""
    if not isinstance(value, str) or not 0 < len(value) <= 128:
        return False
    return value[0] not in ".-" and _NAME.issuperset(value)
