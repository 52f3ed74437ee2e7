"""What a Pi announces on a network, and that it gives way to a host of the same name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import PIIMAGE
from tests.system.first.network import Network, network
from tests.system.first.shown import Output

NEIGHBOUR = Path(__file__).with_name("neighbour.py")
PATIENCE = 600.0
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
"""


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("lan"), ["pitap1"]) as found:
        yield found


@pytest.fixture(scope="module")
def console(
    lan: Network, tmp_path_factory: pytest.TempPathFactory, piimage_store: Path
) -> Iterator[Output]:
    """The console of a Pi on the network, on which its name is another host's."""
    file = tmp_path_factory.mktemp("mdns") / "greenhouse.yml"
    file.write_text(FILE)
    environment = {**os.environ, "PIIMAGE_STORE": str(piimage_store)}
    build = [PIIMAGE, "build", file, "-o", file.parent]
    subprocess.run(build, env=environment, check=True, timeout=600)
    hold = lan.words(sys.executable, NEIGHBOUR, "hold", "greenhouse")
    run = lan.words(PIIMAGE, "run", file.with_suffix(".img"), "--tap", lan.taps[0])
    with subprocess.Popen(hold, stdout=subprocess.PIPE) as neighbour:
        assert neighbour.stdout is not None
        assert neighbour.stdout.readline() == b"held\n"
        with subprocess.Popen(
            run, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as pi:
            output = Output(pi)
            output.wait_for("piimage: mdns: ", PATIENCE)
            yield output
            pi.terminate()
        neighbour.terminate()


def browse(lan: Network, kind: str) -> dict[str, Any]:
    words = lan.words(sys.executable, NEIGHBOUR, "browse", kind)
    done = subprocess.run(words, check=True, capture_output=True, timeout=60)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def discover(lan: Network) -> dict[str, Any]:
    words = lan.words(PIIMAGE, "discover", "--json")
    done = subprocess.run(words, check=True, capture_output=True, timeout=60)
    hosts: dict[str, Any] = json.loads(done.stdout)["hosts"]
    return hosts


def test_the_second_host_of_a_name_takes_another_and_says_so(lan: Network, console: Output) -> None:
    console.wait_for(
        "piimage: mdns: another host is greenhouse.local: THIS PI ANSWERS TO greenhouse-2.local",
        PATIENCE,
    )
    assert [*discover(lan)] == ["greenhouse-2.local"]


def test_it_is_discovered_with_board_version_and_failing_services(
    lan: Network, console: Output
) -> None:
    console.wait_for("piimage: service moody: restarting in 60 s", PATIENCE)
    deadline = time.monotonic() + 120
    while (found := discover(lan)["greenhouse-2.local"])["health"] != "unhealthy":
        assert time.monotonic() < deadline, found
    assert found["failing"] == ["moody"]
    assert found["board"] == "qemu-virt"
    assert len(found["version"]) == 12
    assert found["addresses"][0].startswith("10.214.7.1")


def test_only_what_listens_is_announced(lan: Network, console: Output) -> None:
    console.wait_for("piimage: service shop: running", PATIENCE)
    deadline = time.monotonic() + 120
    while not (pages := browse(lan, "_http._tcp")):
        assert time.monotonic() < deadline
    assert pages == {
        "shop on greenhouse-2._http._tcp.local.": ["greenhouse-2.local.", 8080, {"path": "/start"}]
    }
    assert browse(lan, "_ssh._tcp") == {}
