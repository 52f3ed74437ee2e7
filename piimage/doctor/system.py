"""Kernel modules, deferred devices, services, kernel messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from piimage.doctor.facts import Facts
from piimage.doctor.findings import Finding, absent, broken, good, look

_LEVELS: Final = ("emergency", "alert", "critical", "error", "warning")
_UP: Final = ("healthy", "running")


def system(facts: Facts) -> Iterator[Finding]:
    """Give modules, devices that wait for a driver, and services."""
    modules = facts.part("modules")
    if failed := modules.texts("failed"):
        advice = "send the report with the console output of the boot, which has the reason"
        yield look("modules", f"did not load: {', '.join(failed)}", advice)
    else:
        yield good("modules", f"{modules.number('loaded') or 0} loaded, none failed")
    yield _deferred(facts)
    for service in facts.parts("services"):
        yield _service(service)


def _deferred(facts: Facts) -> Finding:
    found = facts.part("deferred")
    waiting = [line.split()[0] for line in found.texts("devices") if line.strip()]
    waiting += [
        line.partition(": deferred probe pending")[0]
        for line in facts.part("log").texts("named")
        if "deferred probe pending" in line
    ]
    if waiting:
        advice = "send the report: a required driver is missing"
        return look("devices that wait", ", ".join(dict.fromkeys(waiting)), advice)
    if found.flag("readable"):
        return good("devices that wait", "none")
    return absent("devices that wait", "the kernel's list is not readable, and its log names none")


def _service(service: Facts) -> Finding:
    name = f"service {service.text('name')}"
    health, restarts = service.text("health"), service.number("restarts") or 0
    shown = f"{service.text('state')}, {health or 'no health'}, {restarts} restarts"
    done = service.text("state") == "exited" and service.number("exit") == 0
    if service.text("state") == "stopped":
        return look(name, "stopped", "run `piimage start` unless it was stopped on purpose")
    if health not in _UP and not done:
        return broken(name, shown, "run `piimage logs` to see its output")
    if restarts:
        return look(name, shown, "run `piimage logs` to see why it was restarted")
    return good(name, shown)


def messages(facts: Facts) -> Iterator[Finding]:
    """Give the kernel's messages of the level warning or higher."""
    log = facts.part("log")
    lines = log.parts("lines")
    if not lines:
        yield good("warnings", "none")
        return
    left_out = log.number("left_out") or 0
    shown = f"{len(lines) + left_out}" + (
        f", {left_out} in the middle left out" if left_out else ""
    )
    yield look("warnings", shown, "many are harmless; the lines below help to find a fault")
    for line in lines:
        level = line.number("level") or 0
        word = _LEVELS[level] if 0 <= level < len(_LEVELS) else "?"
        yield Finding(f"{line.number('seconds') or 0} s, {word}", line.text("text"))
