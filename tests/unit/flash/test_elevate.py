from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from jeepney import DBusAddress, DBusErrorResponse, new_method_call
from jeepney.low_level import HeaderFields, Message
from jeepney.wrappers import new_error, new_method_return

from piimage.errors import DeviceRefused
from piimage.flash.elevate import open_by_first_allowed
from piimage.flash.udisks import open_by_udisks


def refusing(code: str, calls: list[str]) -> object:
    def way(path: str) -> int:
        calls.append(path)
        raise DeviceRefused(code, "x", place=path)

    return way


def test_the_next_way_is_tried_where_one_is_not_allowed() -> None:
    assert open_by_first_allowed([refusing("flash.no-permission", []), lambda _: 7], "/dev/x") == 7  # type: ignore[list-item]


def test_what_is_wrong_with_the_device_is_reported_at_once() -> None:
    calls: list[str] = []
    ways = [refusing("flash.held", calls), refusing("flash.no-permission", calls)]
    with pytest.raises(DeviceRefused) as caught:
        open_by_first_allowed(ways, "/dev/x")  # type: ignore[arg-type]
    assert (caught.value.code, len(calls)) == ("flash.held", 1)


@pytest.mark.provokes("flash.no-permission")
def test_without_a_bus_there_is_no_udisks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    with pytest.raises(DeviceRefused, match="udisks2 is not running") as caught:
        open_by_udisks("/dev/x")
    assert caught.value.code == "flash.no-permission"


class Bus:
    """A fake system bus: what it is asked, and what it answers or refuses."""

    def __init__(self, *answers: object) -> None:
        self.answers = iter(answers)
        self.requests: list[tuple[object, ...]] = []
        self.patience: list[float] = []

    def __enter__(self) -> Bus:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def send_and_get_reply(self, message: Message, timeout: float) -> Message:
        fields = message.header.fields
        self.requests.append((fields[HeaderFields.path], fields[HeaderFields.interface],
                           fields[HeaderFields.member], message.body))  # fmt: skip
        self.patience.append(timeout)
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        return new_method_return(message, "a{sv}", (answer,))


def refused(name: str, text: str) -> DBusErrorResponse:
    call = new_method_call(DBusAddress("/x", "x.y", "x.y"), "x")
    return DBusErrorResponse(new_error(call, f"org.freedesktop.{name}", "s", (text,)))


def opened(monkeypatch: pytest.MonkeyPatch, *answers: object) -> tuple[Bus, Callable[[], int]]:
    bus = Bus(*answers)
    monkeypatch.setattr("jeepney.io.blocking.open_dbus_connection", lambda *_, **__: bus)
    return bus, lambda: open_by_udisks("/dev/sdx")


def test_udisks_is_asked_as_its_manual_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Manager.ResolveDevice(a{sv}, a{sv}) and Block.OpenDevice(s, a{sv}); a person has minutes."""
    block = "/org/freedesktop/UDisks2/block_devices/sdx"
    descriptor = type("FileDescriptor", (), {"to_raw_fd": lambda _: 7})()
    bus, call = opened(monkeypatch, [block], descriptor)
    assert call() == 7
    service = "org.freedesktop.UDisks2"
    flags = os.O_EXCL | os.O_CLOEXEC | os.O_DIRECT
    assert bus.requests == [
        (
            "/org/freedesktop/UDisks2/Manager", f"{service}.Manager", "ResolveDevice",
            ({"path": ("s", "/dev/sdx")}, {}),
        ),
        (block, f"{service}.Block", "OpenDevice", ("rw", {"flags": ("i", flags)})),
    ]  # fmt: skip
    assert bus.patience == [180, 180]


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        ([], "flash.no-permission", "udisks2 does not know the device"),
        (refused("UDisks2.Error.DeviceBusy", "it is Busy"), "flash.held", "is in use"),
        (
            refused("UDisks2.Error.NotAuthorized", "Not authorized"),
            "flash.no-permission",
            r"udisks2 did not open it \(NotAuthorized\)",
        ),
    ],
)
def test_what_udisks_refuses_is_reported(
    monkeypatch: pytest.MonkeyPatch, answer: object, code: str, words: str
) -> None:
    _, call = opened(monkeypatch, answer)
    with pytest.raises(DeviceRefused, match=words) as caught:
        call()
    assert caught.value.code == code
