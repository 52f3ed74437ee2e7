"""Temperature, supply, memory, processor, watchdog, clock."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from piimage.doctor.facts import Facts, hexadecimal
from piimage.doctor.findings import Finding, absent, broken, good, look, size
from piimage.doctor.models import revision

_HOT: Final = 80_000  # thousandths of a degree; the firmware starts to throttle the processor
_TOO_HOT: Final = 85_000
_SUPPLY: Final = "use Raspberry Pi's power supply and a short cable; unplug USB devices"
_COOL: Final = "improve the ventilation, or add a heat sink or a fan"
# Documentation of Raspberry Pi, `vcgencmd get_throttled`.
_NOW: Final = {0: "low voltage", 1: "frequency capped", 2: "throttled", 3: "soft heat limit"}
_SINCE_BOOT: Final = 16
_CLOCK_OFF_S: Final = 120
_CARD_RESET: Final = 0x20  # linux/watchdog.h, WDIOF_CARDRESET


def health(facts: Facts, now: float) -> Iterator[Finding]:
    """Give temperatures, supply, memory, processor, watchdogs and time.

    `now` is this computer's time in seconds since 1970.
    """
    yield from _heat(facts)
    yield from _power(facts)
    yield from _monitors(facts)
    yield _memory(facts)
    yield from _processor(facts.part("processor"))
    yield from _watchdogs(facts)
    yield from _time(facts.part("time"), now)


def _heat(facts: Facts) -> Iterator[Finding]:
    if not facts.parts("zones"):
        yield absent("temperature", "no thermal zone")
    for zone in facts.parts("zones"):
        degrees = zone.number("temperature")
        name = zone.text("name")
        if degrees is None:
            yield look(
                name, "no temperature", "restart the Pi: the sensor's driver returns no value"
            )
            continue
        shown = f"{degrees / 1000:.1f} °C"
        if degrees >= _TOO_HOT:
            yield broken(name, shown, _COOL)
        elif degrees >= _HOT:
            yield look(name, shown, _COOL)
        else:
            yield good(name, shown)
    for cooler in facts.parts("coolers"):
        state = f"{cooler.number('state')} of {cooler.number('most')}"
        yield Finding(f"cooling by {cooler.text('name')}", state)


def _power(facts: Facts) -> Iterator[Finding]:
    found = facts.part("throttled")
    if not found.known():
        yield absent("power", "this kernel cannot query the firmware")
        return
    value = hexadecimal(found.text("bits")) or 0
    now = [state for bit, state in _NOW.items() if value >> bit & 1]
    before = [state for bit, state in _NOW.items() if value >> bit + _SINCE_BOOT & 1]
    if found.flag("low_voltage") or now:
        yield broken("power", ", ".join(now) or "low voltage", _SUPPLY)
    elif before:
        yield look("power", f"since the boot: {', '.join(before)}", _SUPPLY)
    else:
        yield good("power", "no low voltage")


def _monitors(facts: Facts) -> Iterator[Finding]:
    for monitor in facts.parts("monitors"):
        values = monitor.part("values")
        shown = ", ".join(f"{key} {values.text(key)}" for key in values.known())
        alarms = [
            key for key in values.known() if key.endswith("_alarm") and values.text(key) == "1"
        ]
        name = f"sensor {monitor.text('name')}"
        if alarms:
            yield look(name, shown, f"check the cause of the alarm: {', '.join(alarms)}")
        else:
            yield Finding(name, shown or "no values")


def _memory(facts: Facts) -> Finding:
    found = facts.part("memory")
    total, free = found.number("total") or 0, found.number("available") or 0
    shown = f"{size(free)} free of {size(total)}"
    code = facts.part("board").number("revision")
    content = revision(code) if code is not None else None
    if content is not None and content.memory_mib and total < (content.memory_mib << 20) * 3 // 4:
        advice = (
            f"check total_mem and gpu_mem in config.txt: the board has {content.memory_mib} MiB"
        )
        return look("memory", shown, advice)
    if free * 10 < total:
        return look(
            "memory",
            shown,
            "limit the services' memory, or use a Pi with more: less than 10 % is free",
        )
    return good("memory", shown)


def _processor(found: Facts) -> Iterator[Finding]:
    yield Finding("processors", f"{found.text('online')}, {found.text('id') or 'no id'}")
    if not found.parts("policies"):
        yield absent("frequency", "no driver controls it: the firmware's setting stays")
    for policy in found.parts("policies"):
        now, least, most = ((policy.number(key) or 0) // 1000 for key in ("now", "least", "most"))
        shown = (
            f"{now} MHz of {least} to {most}, {policy.text('governor')} of {policy.text('driver')}"
        )
        yield Finding("frequency", shown)


def _watchdogs(facts: Facts) -> Iterator[Finding]:
    if not facts.parts("watchdogs"):
        yield look(
            "watchdog",
            "none",
            "send the report: without a watchdog a Pi that hangs does not restart",
        )
    for dog in facts.parts("watchdogs"):
        parts = (dog.text("identity"), f"{dog.number('timeout')} s", dog.text("driver"))
        shown = ", ".join(part for part in parts if part)
        if dog.text("state") == "active":
            yield good(dog.text("name"), shown)
        else:
            advice = "send the report: a watchdog that is not started restarts nothing"
            yield look(dog.text("name"), f"{shown}: not started", advice)
        if (dog.number("boot_status") or 0) & _CARD_RESET:
            advice = "check the supply, the temperature and the last console lines: the Pi had hung"
            yield look("last restart", f"by {dog.text('name')}", advice)


def _time(found: Facts, now: float) -> Iterator[Finding]:
    off = (found.number("now") or 0) - int(now)
    if abs(off) > _CLOCK_OFF_S:
        advice = "add the ready-made service ntp to the file, or wait until its server has answered"
        yield look("time", f"{off:+d} s from this computer's clock", advice)
    else:
        yield good("time", "the same as this computer's")
    yield Finding("time source", found.text("source"))
    if not found.parts("clocks"):
        yield absent(
            "real-time clock", "none: after a boot the clock continues from the last known time"
        )
    for clock in found.parts("clocks"):
        set_by = ", set the time at boot" if clock.flag("at_boot") else ""
        yield Finding("real-time clock", f"{clock.text('name')} by {clock.text('driver')}{set_by}")
