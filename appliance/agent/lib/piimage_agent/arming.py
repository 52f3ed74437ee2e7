"""Whether the boot loader can be told to try the other slot: usr/lib/piimage/try-flag knows how."""

from __future__ import annotations

import os

from piimage_agent import services
from piimage_agent.refusal import Refused
from piimage_agent.root import Root

_LONG_S = 60.0  # for flash that is slow to write


def kind(root: Root) -> str:
    """Return the kind of boot loader, as the board's setting TRY names it."""
    return root.facts().get("TRY") or "tryboot"


def obstacle(root: Root) -> str:
    """Return why it cannot be told, as far as can be seen without writing; empty if it can."""
    if kind(root) == "tryboot":  # the most frequent one, without a program
        known = os.path.exists(root.at("sys/module/tryboot/parameters/next"))
        return "" if known else "it has no module tryboot"
    return _answer(root, "check")


def require(root: Root) -> None:
    """Raise Refused ``no-try`` unless the boot loader keeps what it is told."""
    if kind(root) != "tryboot" and (reason := _answer(root, "probe")):
        raise Refused(
            "no-try", f"the boot loader cannot be told to try another version: {reason}",
            "see docs/updates.md",
        )  # fmt: skip


def _answer(root: Root, verb: str) -> str:
    program = root.at("usr/lib/piimage/try-flag")
    try:
        status, output = services.run(["try-flag", verb], program, _LONG_S)
    except OSError as error:
        return f"try-flag: {error}"
    return "" if status == 0 else output.strip()[-500:] or f"try-flag ended with {status}"
