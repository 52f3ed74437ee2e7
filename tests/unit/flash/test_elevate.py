from __future__ import annotations

from pathlib import Path

import pytest

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


def test_what_is_wrong_with_the_device_is_said_at_once() -> None:
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
