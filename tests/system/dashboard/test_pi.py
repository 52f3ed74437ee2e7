"""The dashboard on a Pi in QEMU."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.boot.conftest import PATIENCE
from tests.system.dashboard.conftest import TOKEN
from tests.system.dashboard.emulated import Page, booted_page


@pytest.fixture(scope="module")
def page(piimage_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with booted_page(piimage_store, tmp_path_factory.mktemp("dashboard")) as page:
        yield page


def test_the_page_and_the_metrics_are_on_the_same_port(page: Page) -> None:
    assert "<title>Pi</title>" in page.get("/")
    assert "Dygraph" in page.get("/dygraph.js")
    state = json.loads(page.get("/api/state"))
    assert state["host"]["name"] == "greenhouse"
    assert state["host"]["board"] == "qemu-virt"
    assert state["host"]["slot"] == "partition 2"
    assert state["host"]["disk_bytes"] > 1 << 29
    rows = {row["name"]: row for row in state["services"]}
    assert {"hello_world", "dashboard", "sshd"} == rows.keys()
    assert (rows["dashboard"]["state"], rows["dashboard"]["health"]) == ("running", "healthy")


def test_the_kernel_s_counts_of_each_container_are_metrics(page: Page) -> None:
    page.say("until [ -s /run/piimage/services/hello_world/pid ]; do sleep 1; done")
    group = "/sys/fs/cgroup/piimage/services/hello_world"
    assert page.metric('piimage_container_processes{container="hello_world"}') == float(
        page.say(f"cat {group}/pids.current")
    )
    assert page.metric('piimage_container_memory_bytes{container="hello_world"}') > 0
    assert page.metric('piimage_container_cpu_seconds_total{container="dashboard"}') > 0
    assert page.metric('piimage_container_oom_kills_total{container="dashboard"}') == 0
    assert page.metric('piimage_container_up{container="dashboard"}') == 1


def test_a_log_is_read(page: Page) -> None:
    assert "HELLO from greenhouse" in json.loads(page.get("/api/logs/hello_world"))["text"]


def test_it_stays_under_16_megabytes(page: Page) -> None:
    status = page.say("cat /proc/$(cat /run/piimage/services/dashboard/pid)/status")
    fields = {line.split(":")[0]: line.split()[1] for line in status.splitlines() if " kB" in line}
    resident, own = (int(fields[name]) * 1024 / 1e6 for name in ("VmRSS", "RssAnon"))
    print(f"{resident:.1f} MB resident, {own:.1f} MB its own")  # noqa: T201
    assert resident < 16


def test_the_container_has_no_privilege_and_the_pipe_of_its_runner_alone(page: Page) -> None:
    pid = page.say("cat /run/piimage/services/dashboard/pid").strip()
    status = page.say(f"cat /proc/{pid}/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split() == ["971"] * 4
    assert {int(fields[f"Cap{name}"], 16) for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {0}
    modes = page.say("cd /run/piimage/services; stat -c '%n %u %a' */events").splitlines()
    assert modes == ["dashboard/events 971 600", "hello_world/events 0 600", "sshd/events 0 600"]
    inside = page.say(f"ls /proc/{pid}/root/run /proc/{pid}/root/run/piimage/layers")
    assert "containerd" not in inside


def test_a_restart_needs_the_token_and_goes_through_the_runner(page: Page) -> None:
    before = page.say("cat /run/piimage/services/hello_world/pid").strip()
    assert page.post("/api/services/hello_world/restart", "wrong horse battery") == 401
    assert page.say("cat /run/piimage/services/hello_world/pid").strip() == before
    assert page.post("/api/services/hello_world/restart", TOKEN) == 202
    page.session.wait_for("piimage: service dashboard: asks to restart hello_world", PATIENCE)
    page.session.wait_for("piimage: service hello_world: stopped", PATIENCE)
    page.say(
        f"until [ -s /run/piimage/services/hello_world/pid ] && "
        f"[ $(cat /run/piimage/services/hello_world/pid) != {before} ]; do sleep 1; done"
    )


def test_a_service_is_stopped_and_started(page: Page) -> None:
    state = "/run/piimage/services/hello_world/state"
    assert page.post("/api/services/hello_world/stop", TOKEN) == 202
    page.say(f"until [ $(cat {state}) = stopped ]; do sleep 1; done")
    assert page.post("/api/services/hello_world/start", TOKEN) == 202
    page.say(f"until [ $(cat {state}) = running ]; do sleep 1; done")
