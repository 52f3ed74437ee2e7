"""What is made of the answers of a network; real answers are in tests/system/first."""

from __future__ import annotations

import contextlib
import json
import socket
from types import SimpleNamespace

import pytest
import zeroconf
from hypothesis import given
from hypothesis import strategies as st
from zeroconf import IPVersion, ServiceInfo, Zeroconf

from piimage.cli.main import execute
from piimage.deploy import mdns
from piimage.deploy.mdns import FoundPi, pi_of
from piimage.errors import PiimageError


def info(text: bytes, addresses: tuple[str, ...] = ("10.0.0.7",)) -> ServiceInfo:
    packed = [
        socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
        for address in addresses
    ]
    return ServiceInfo(
        mdns.SERVICE, f"greenhouse.{mdns.SERVICE}", 22, addresses=packed, properties=text,
        server="greenhouse.local.",
    )  # fmt: skip


def test_an_answer_becomes_a_pi() -> None:
    # RFC 6763, 6.1: each string has its length before it.
    text = b"\x09board=pi4\x10version=01234567\x10health=unhealthy\x0bfailing=a,b"
    pi = pi_of(info(text, ("fe80::1", "2001:db8::7", "10.0.0.7")))
    assert pi == FoundPi(
        name="greenhouse.local", addresses=("10.0.0.7", "2001:db8::7", "fe80::1"), board="pi4",
        version="01234567", health="unhealthy", failing=("a", "b"),
    )  # fmt: skip


@given(st.binary(max_size=60))
def test_any_text_of_an_answer_becomes_a_pi(text: bytes) -> None:
    pi = pi_of(info(text))
    assert pi.name == "greenhouse.local"
    json.dumps([pi.board, pi.version, pi.health, pi.failing])


PIS = (
    FoundPi("greenhouse.local", ("10.0.0.7", "fe80::1"), "pi4", "0123456789ab", "healthy", ()),
    FoundPi("shed.local", (), "", "", "unhealthy", ("web", "\x1b[31m")),
)


def test_discover_prints_a_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("piimage.cli.discover.find_pis", lambda seconds: PIS)
    assert execute(["discover"]) == 0
    assert capsys.readouterr().out == (
        "NAME              ADDRESS   BOARD  VERSION       HEALTH\n"
        "greenhouse.local  10.0.0.7  pi4    0123456789ab  healthy\n"
        "shed.local        -         -      -             unhealthy (web, \\x1b[31m)\n"
    )


def test_discover_names_a_pi_that_does_not_have_the_name_of_its_card(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = b"\x09board=pi4\x11wanted=greenhouse"
    second = ServiceInfo(mdns.SERVICE, f"x.{mdns.SERVICE}", 22, properties=text,
                         server="greenhouse-2.local.")  # fmt: skip
    monkeypatch.setattr("piimage.cli.discover.find_pis", lambda seconds: (PIS[0], pi_of(second)))
    assert execute(["discover"]) == 0
    assert capsys.readouterr().err == (
        "greenhouse-2.local is named greenhouse on its card, but another host has or had that "
        "name; give it one of its own: piimage provision DEVICE --hostname NAME\n"
    )


def test_discover_prints_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("piimage.cli.discover.find_pis", lambda seconds: PIS[:1])
    assert execute(["discover", "--json", "--timeout", "0.5"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "hosts": {
            "greenhouse.local": {
                "addresses": ["10.0.0.7", "fe80::1"], "board": "pi4", "version": "0123456789ab",
                "health": "healthy", "failing": [], "wanted": "",
            }
        }
    }  # fmt: skip


def test_discover_says_that_no_pi_answered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("piimage.cli.discover.find_pis", lambda seconds: ())
    assert execute(["discover"]) == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "no Pi answered within 3 s" in printed.err


@pytest.mark.provokes("deploy.no-multicast")
def test_a_host_without_a_network_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(Zeroconf, "__init__", unreachable)
    with pytest.raises(PiimageError, match="Network is unreachable"):
        mdns.discover(0)
    assert mdns.find_address("greenhouse.local") is None


def test_a_host_without_ipv6_asks_over_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[IPVersion] = []

    def without_ipv6(self: Zeroconf, ip_version: IPVersion) -> None:
        tried.append(ip_version)
        if ip_version is IPVersion.All:
            raise OSError(97, "Address family not supported by protocol")

    monkeypatch.setattr(Zeroconf, "__init__", without_ipv6)
    monkeypatch.setattr(Zeroconf, "close", lambda self: None)
    with mdns._listening():
        assert tried == [IPVersion.All, IPVersion.V4Only]


def test_a_link_local_address_needs_its_interface() -> None:
    assert mdns._is_complete("fe80::1%2")
    assert mdns._is_complete("2001:db8::7")
    assert not mdns._is_complete("fe80::1")


@pytest.mark.parametrize(
    ("answers", "address"),
    [
        ({"AddressResolver": ["192.0.2.7", "fe80::1"]}, "192.0.2.7"),
        ({"AddressResolver": ["fe80::1"], "AddressResolverIPv4": ["192.0.2.7"]}, "192.0.2.7"),
        ({"AddressResolver": [], "AddressResolverIPv4": ["192.0.2.7"]}, "192.0.2.7"),
        ({"AddressResolver": ["fe80::1"], "AddressResolverIPv4": []}, None),
    ],
)
def test_an_answer_without_a_usable_address_is_followed_by_another_question(
    answers: dict[str, list[str]], address: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Answered:
        def __init__(self, found: list[str]) -> None:
            self.found = found

        def request(self, network: object, timeout: int) -> bool:
            clock.append(clock[-1] + timeout / 1000)
            return bool(self.found)

        def parsed_scoped_addresses(self) -> list[str]:
            return self.found

    clock = [0.0]
    for kind, found in answers.items():
        monkeypatch.setattr(zeroconf, kind, lambda name, found=found: Answered(found))
    monkeypatch.setattr(mdns, "time", SimpleNamespace(monotonic=lambda: clock[-1]))
    monkeypatch.setattr(mdns, "_listening", contextlib.nullcontext)
    assert mdns.find_address("greenhouse.local") == address
