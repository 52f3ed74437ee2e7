"""Modules built out of tree on the booted appliance."""

from __future__ import annotations

import re
import time

from tests.system.boot.conftest import PATIENCE, Pi


def lines(pi: Pi) -> list[str]:
    return [line.text for line in pi.session.lines()]


def test_they_are_loaded_in_order_with_their_parameters(pi: Pi) -> None:
    # The newest comes first in /proc/modules.
    loaded = [line.split()[0] for line in pi.say("lsmod").splitlines()]
    ours = [name for name in reversed(loaded) if name in ("i2c_dev", "i2c_stub", "hello", "dummy")]
    assert ours == ["i2c_dev", "i2c_stub", "hello", "dummy"]
    values = "cat /sys/module/hello/parameters/whom /sys/module/i2c_stub/parameters/chip_addr"
    whom, chips = pi.say(values).splitlines()
    assert whom == "the plants"
    assert chips.split(",")[:3] == ["72", "119", "0"]
    assert pi.say("ls -d /sys/class/net/dummy*").split() == [
        "/sys/class/net/dummy0", "/sys/class/net/dummy1"
    ]  # fmt: skip
    assert "hello, the plants" in pi.say("dmesg")


def test_they_lie_under_updates_and_modprobe_finds_them(pi: Pi) -> None:
    assert "/updates/hello.ko" in pi.say("modprobe -D hello")
    index = pi.say("cat /lib/modules/$(uname -r)/modules.dep")
    assert "updates/i2c-stub.ko:" in index


def test_a_container_sees_the_chips_of_the_stub(pi: Pi) -> None:
    # It may have come before what the others waited for: services start in no set order.
    end = time.monotonic() + PATIENCE
    while not any("70: -- -- -- -- -- -- -- 77" in line for line in lines(pi)):
        assert time.monotonic() < end, lines(pi)
        time.sleep(1)
    printed = lines(pi)
    # Among the table's rows may stand lines of the kernel and of other services.
    table = [re.fullmatch(r"([0-7])0: ((?:[0-9a-f-]{2} ?)+) *", line) for line in printed]
    rows = [row for row in table if row]
    found = {f"{row[1]}{n:x}" for row in rows for n, cell in enumerate(row[2].split())
             if cell != "--" and row[1] != "0"}  # fmt: skip
    assert found == {"48", "77"}
