"""What Pis announce on a network, and that the second one of a name takes another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import PIIMAGE
from tests.system.first.network import Network, network
from tests.system.first.shown import Output, started

BROWSE = Path(__file__).with_name("browse.py")
PATIENCE = 600.0
pytestmark = pytest.mark.timeout(1800)  # two boots, on a machine that may be busy
FILE = """
board: qemu-virt
hostname: greenhouse
services:
  - { name: dhcp-renew, use: dhcp-renew }
  - name: mdns
    use: mdns
    env: ["MDNS_PAGES=shop=8080/start closed=8081"]
  - name: shop
    packages: [busybox-static]
    command: [/usr/bin/busybox, httpd, -f, -p, "8080"]
    net: host
  - name: moody
    packages: [busybox-static]
    command: [/usr/bin/busybox, "false"]
    restart: { policy: always, backoff: 60s..60s }
  - name: again                     # restarts mdns where that keeps another name than the card's
    packages: [busybox-static]
    command:
      - /usr/bin/busybox
      - sh
      - -c
      - >-
        until [ -s /data/mdns/name ]; do busybox sleep 1; done;
        echo restart mdns >/run/control/events
    binds: ["/data:/data:ro"]
    control: true
    restart: { policy: on-failure }
"""


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("lan"), ["pitap1", "pitap2"]) as found:
        yield found


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory, piimage_store: Path) -> Path:
    file = tmp_path_factory.mktemp("mdns") / "greenhouse.yml"
    file.write_text(FILE)
    environment = {**os.environ, "PIIMAGE_STORE": str(piimage_store)}
    build = [PIIMAGE, "build", file, "-o", file.parent]
    subprocess.run(build, env=environment, check=True, timeout=600)
    return file.with_suffix(".img")


@pytest.fixture(scope="module")
def consoles(lan: Network, card: Path) -> Iterator[tuple[Output, Output]]:
    """The consoles of two Pis with the same card; the first one has the name already."""
    first, second = (lan.words(PIIMAGE, "run", card, "--tap", tap) for tap in lan.taps)
    with started(first) as older:
        older.wait_for("piimage: mdns: this Pi answers to greenhouse.local", PATIENCE)
        with started(second) as newer:
            yield older, newer


def until(ask: Callable[[], Any], right: Callable[[Any], bool]) -> Any:
    """Ask until the answer is right; return it."""
    deadline = time.monotonic() + PATIENCE
    while not right(answer := ask()):
        assert time.monotonic() < deadline, answer
    return answer


def browse(lan: Network, kind: str) -> dict[str, Any]:
    words = lan.words(sys.executable, BROWSE, kind)
    done = subprocess.run(words, check=True, capture_output=True, timeout=60)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def discover(lan: Network) -> dict[str, Any]:
    words = lan.words(PIIMAGE, "discover", "--json")
    done = subprocess.run(words, check=True, capture_output=True, timeout=60)
    hosts: dict[str, Any] = json.loads(done.stdout)["hosts"]
    return hosts


def test_the_second_pi_of_a_name_takes_another_and_says_so(
    lan: Network, consoles: tuple[Output, Output]
) -> None:
    consoles[1].wait_for(
        "piimage: mdns: another host is greenhouse.local: THIS PI ANSWERS TO greenhouse-2.local",
        PATIENCE,
    )
    found = until(lambda: discover(lan), lambda hosts: len(hosts) == 2)
    assert [*found] == ["greenhouse-2.local", "greenhouse.local"]
    assert "ANSWERS TO greenhouse-2" not in consoles[0].text


def test_it_keeps_the_name_when_it_starts_again(
    lan: Network, consoles: tuple[Output, Output]
) -> None:
    consoles[1].wait_for("piimage: service again: asks to restart mdns", PATIENCE)
    consoles[1].wait_for(
        "another host was greenhouse.local: THIS PI KEEPS THE NAME greenhouse-2.local", PATIENCE
    )
    found = until(
        lambda: discover(lan),
        lambda hosts: hosts.get("greenhouse-2.local", {}).get("wanted") == "greenhouse",
    )
    assert found["greenhouse.local"]["wanted"] == ""


def test_it_is_discovered_with_board_version_and_failing_services(
    lan: Network, consoles: tuple[Output, Output]
) -> None:
    consoles[0].wait_for("piimage: service moody: restarting in 60 s", PATIENCE)
    found = until(
        lambda: discover(lan)["greenhouse.local"], lambda pi: bool(pi["health"] == "unhealthy")
    )
    assert found["failing"] == ["moody"]
    assert found["board"] == "qemu-virt"
    assert len(found["version"]) == 12
    assert found["addresses"][0].startswith("10.214.7.1")


def test_only_what_listens_is_announced(lan: Network, consoles: tuple[Output, Output]) -> None:
    name = "shop on greenhouse._http._tcp.local."
    pages = until(lambda: browse(lan, "_http._tcp"), lambda pages: name in pages)
    assert pages[name] == ["greenhouse.local.", 8080, {"path": "/start"}]
    assert {server for server, _, _ in pages.values()} <= {
        "greenhouse.local.",
        "greenhouse-2.local.",
    }
    assert all(port == 8080 for _, port, _ in pages.values())
    assert browse(lan, "_ssh._tcp") == {}
