"""Containers on the bridge, and one with user ids of its own, on a Pi that is up.

The same boot as that of test_virt.py. "Outside" is this host, which reaches ports of the Pi through
the emulator.
"""

from __future__ import annotations

import http.server
import threading
import time
import urllib.request
from collections.abc import Iterator

import pytest

from piimage.container.ids import first_id
from tests.system.boot.conftest import Pi
from tests.system.boot.test_virt_confinement import inside

OUTSIDE = "10.0.2.2"  # this host, as the board sees it
PATIENCE = 60.0


def page(pi: Pi, port: int) -> str:
    """What the board answers to a request from outside at `port`; empty if nothing does."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{pi.ports[port]}/", timeout=20) as answer:
            text: str = answer.read().decode()
            return text
    except OSError:
        return ""


def wait_for_page(pi: Pi) -> None:
    deadline = time.monotonic() + PATIENCE
    while page(pi, 8080) != "the page\n":
        assert time.monotonic() < deadline, pi.say("cat /run/piimage/services/page/*")
        time.sleep(1)


@pytest.fixture(scope="module")
def bridged(pi: Pi) -> Pi:
    wait_for_page(pi)
    pi.task("mapped")
    return pi


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """HOST:PORT of a web server outside of the board."""
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"{OUTSIDE}:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def fetched(pi: Pi, service: str, url: str) -> bool:
    """Whether `url` answers in the container of `service`; a refusal or silence is no answer."""
    return "yes" in inside(
        pi, service, f"busybox wget -T 4 -q -O /dev/null http://{url}/ && echo yes"
    )  # fmt: skip


def test_a_published_port_is_reached_from_outside_and_no_other(bridged: Pi) -> None:
    assert page(bridged, 8080) == "the page\n"
    assert page(bridged, 80) == ""  # the container's own
    assert page(bridged, 8081) == ""  # for the Pi itself


def test_the_pi_itself_reaches_published_ports_by_each_of_its_addresses(bridged: Pi) -> None:
    wget = "timeout 10 wget -q -O -"
    for place in ("127.0.0.1:8080", "127.0.0.1:8081", "10.0.2.15:8080"):
        assert bridged.say(f"{wget} http://{place}/") == "the page\n", place
    assert bridged.say(f"{wget} http://10.0.2.15:8081/ || echo none") == "none\n"


def test_services_on_the_bridge_know_one_another_by_name(bridged: Pi) -> None:
    assert fetched(bridged, "mapped", "page")
    assert "page" not in bridged.say("cat /etc/hosts")


def test_a_container_on_the_bridge_does_not_reach_the_pi(bridged: Pi) -> None:
    gateway = bridged.say("ip -4 addr show dev piimage0 | awk '/inet / {print $2}'").split("/")[0]
    assert "SSH" in bridged.say("nc -w 5 127.0.0.1 22 </dev/null | head -c 4 || :")
    for address in (gateway, "10.0.2.15"):
        for service in ("page", "mapped"):
            answer = inside(bridged, service, f"busybox nc -w 3 {address} 22 </dev/null")
            assert "SSH" not in answer, (service, address, answer)
    # Not by IPv6 either, which the bridge does not have.
    assert "fe80" not in bridged.say("ip addr show dev piimage0")
    assert "inet6" not in inside(bridged, "page", "busybox ip addr show dev eth0")
    # What others reach, it reaches: a published port.
    assert fetched(bridged, "mapped", "10.0.2.15:8080")


def test_a_way_out_is_what_bridge_has_and_internal_has_not(bridged: Pi, elsewhere: str) -> None:
    assert fetched(bridged, "page", elsewhere)
    assert not fetched(bridged, "mapped", elsewhere)


def test_the_bridge_outlives_the_service_and_containerd(bridged: Pi) -> None:
    before = bridged.task("page")
    bridged.say(f"kill -KILL {before}")
    bridged.next_task("page", before)
    wait_for_page(bridged)
    bridged.say("kill -KILL $(pidof containerd)")
    assert page(bridged, 8080) == "the page\n"
    bridged.restart("page")
    wait_for_page(bridged)
    bridged.say("until [ $(ls /sys/class/net/piimage0/brif | wc -l) = 2 ]; do sleep 1; done")


def test_other_ports_of_a_deploy_replace_those_of_the_one_before(bridged: Pi) -> None:
    other = "/tmp/other/network"  # on the board
    bridged.say(
        f"mkdir -p {other} && cp /containers/network/* {other}/ && "
        f"sed -i 's/dport 8080/dport 80/' {other}/rules && "
        "/usr/lib/piimage/bridge use /tmp/other"
    )
    try:
        assert (page(bridged, 80), page(bridged, 8080)) == ("the page\n", "")
    finally:
        bridged.say("/usr/lib/piimage/bridge use /containers; rm -r /tmp/other")
    wait_for_page(bridged)


def test_a_container_with_its_own_user_ids_is_an_unprivileged_user_of_the_pi(bridged: Pi) -> None:
    first = first_id("mapped")
    pid = bridged.task("mapped")
    ids = bridged.say(f"awk '/^[UG]id:/ {{print $2}}' /proc/{pid}/status").split()
    assert ids == [str(first), str(first)]
    assert inside(bridged, "mapped", "busybox id -u").strip() == "0"
    # What it wrote belongs to that user on the card, and to root in the container.
    found = bridged.say("stat -c '%u:%g %n' /data/mapped /data/mapped/file").split()
    assert found == [f"{first}:{first}", "/data/mapped", f"{first}:{first}", "/data/mapped/file"]
    assert bridged.say("cat /data/mapped/file") == "kept\n"
    stat = "busybox stat -c %u:%g / /usr/bin/busybox /state/file"
    assert inside(bridged, "mapped", stat).split() == ["0:0", "0:0", "0:0"]
    # Another container has the same layer with the owners that it has for the Pi.
    assert inside(bridged, "page", "busybox stat -c %u /usr/bin/busybox").strip() == "0"
    assert "Permission denied" in inside(bridged, "mapped", "busybox chown 1 /state/file; busybox "
                                         "cat /proc/1/mem")  # fmt: skip
