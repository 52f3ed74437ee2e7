"""How the wired network is set up, with programs that note how they were called."""

from __future__ import annotations

from pathlib import Path

import pytest

from piimage import resources
from tests.programs.appliance.scripts import Pi


@pytest.fixture
def pi(tmp_path: Path) -> Pi:
    pi = Pi(tmp_path)
    pi.install_library()
    pi.path("run/piimage/network/x")
    pi.write("sys/class/net/eth0/device", "")
    pi.program("ip", f'echo "$*" >>{tmp_path}/called')
    return pi


def set_up(pi: Pi, **values: str) -> list[str]:
    """Run the script for /etc/piimage/network with `values`; return how `ip` was called."""
    lines = "".join(f"{key}='{text}'\n" for key, text in values.items())
    file = pi.write("etc/piimage/network", lines)
    script = pi.install("network")
    # `ip` is a program of busybox's own, which it prefers.
    script.write_text(script.read_text().replace("ip ", f"{pi.root}/bin/ip "))
    pi.run("network", str(file))
    called = pi.root / "called"
    return called.read_text().splitlines() if called.exists() else []


def test_a_vlan_is_made_on_its_interface_and_has_the_address(pi: Pi) -> None:
    called = set_up(
        pi, INTERFACE="eth0.100", ADDRESS="10.9.8.7/24", PARENT="eth0", VLAN="100"
    )  # fmt: skip
    assert called == [
        "link set eth0 up",
        "link add link eth0 name eth0.100 type vlan id 100",
        "addr add 10.9.8.7/24 broadcast + dev eth0.100",
        "link set eth0.100 up",
    ]
    assert pi.path("run/piimage/network/fixed").read_text() == "eth0.100\n"
    assert pi.console() == [
        "piimage: network: eth0.100 has 10.9.8.7/24, router none, dns none"
    ]  # fmt: skip


def test_an_interface_without_an_address_is_left_to_dhcp(pi: Pi) -> None:
    assert set_up(pi, INTERFACE="eth0.7", ADDRESS="", PARENT="eth0", VLAN="7") == [
        "link set eth0 up",
        "link add link eth0 name eth0.7 type vlan id 7",
    ]
    assert pi.path("run/piimage/network/asks").read_text() == "eth0.7\n"
    assert not pi.path("run/piimage/network/fixed").exists()


def test_a_vlan_that_the_kernel_refuses_is_told(pi: Pi) -> None:
    pi.program("ip", "[ $2 != add ]")
    set_up(pi, INTERFACE="eth0.7", ADDRESS="10.0.0.2/24", PARENT="eth0", VLAN="7")
    assert pi.console() == ["piimage: network: eth0.7 could not be made on eth0"]


@pytest.mark.parametrize(
    ("state", "interfaces"),
    [
        ({}, "eth0 eth1"),
        ({"fixed": "eth0"}, "eth1"),
        ({"fixed": "eth0.100"}, "eth0 eth1"),
        ({"asks": "eth1"}, "eth1"),
        ({"asks": "eth0.100"}, "eth0.100"),
        ({"asks": "eth9"}, ""),
    ],
)
def test_dhcp_asks_where_the_file_wants_it(pi: Pi, state: dict[str, str], interfaces: str) -> None:
    for name, text in state.items():
        pi.write(f"run/piimage/network/{name}", f"{text}\n")
    pi.write("sys/class/net/eth1/device", "")
    pi.path("sys/class/net/eth0.100/ifindex")  # a VLAN is no hardware
    pi.write("sys/class/net/wlan0/device", "")
    pi.path("sys/class/net/wlan0/phy80211/x")
    text = (resources.path("services") / "dhcp/dhcp.sh").read_text()
    script, call, _ = text.partition('\nmain "$@"')
    assert call
    for place in ("/sys/class/net", "/run/piimage"):
        script = script.replace(place, f"{pi.root}{place}")
    assert (
        pi.sh(f'{script}\nread_roles; list_interfaces; echo "$REPLY"').split() == interfaces.split()
    )


@pytest.mark.parametrize(("mode", "outcome"), [("once", "gave up"), ("renew", "eth9")])
def test_only_dhcp_at_boot_gives_up_when_there_is_no_interface(
    pi: Pi, mode: str, outcome: str
) -> None:
    """An adapter is plugged in after the fifth second; the limit is three."""
    text = (resources.path("services") / "dhcp/dhcp.sh").read_text()
    script = text.partition('\nmain "$@"')[0]
    later = 'sleep() { SECOND=$((SECOND + 1)); [ "$SECOND" -lt 5 ] || ADAPTER=eth9; }'
    lists = "list_interfaces() { REPLY=$ADAPTER; }"
    call = f'wait_for_interfaces {mode} 2>&1 && echo "$REPLY" || echo gave up'
    output = pi.sh(f"DHCP_TIMEOUT=3 SECOND=0 ADAPTER= FIXED=\n{script}\n{later}\n{lists}\n{call}")
    assert output.splitlines() == ["dhcp: no network interface", outcome]
