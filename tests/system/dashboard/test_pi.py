"""The dashboard on a Pi in QEMU, asked through a forwarded port."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from piimage.card.ext4 import DataFile
from piimage.emulator.ports import Forward, free_port
from piimage.emulator.session import Options, Session, boot
from piimage.firmware.manifest import board_of
from piimage.flash.stored import encode
from piimage.run import Runner
from piimage.testing.shell import Shell, card_with, new_key
from tests.system.boot.conftest import PATIENCE, PIIMAGE
from tests.system.dashboard.conftest import TOKEN

APPLIANCE = Path(__file__).parent / "appliance"
PORT = 8088
# What `piimage flash --set DASHBOARD_TOKEN=…` writes.
TOKEN_OF_CARD = {"piimage/provision/settings": DataFile(encode({"DASHBOARD_TOKEN": TOKEN}), 0o600)}


@dataclass(frozen=True)
class Page:
    """The dashboard of a board that is up."""

    session: Session
    shell: Shell
    port: int

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
            return str(answer.read().decode())

    def post(self, path: str, token: str) -> int:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method="POST", headers={"Authorization": f"Bearer {token}"},
        )  # fmt: skip
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def metric(self, name: str) -> float:
        lines = self.get("/metrics").splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))

    def say(self, script: str) -> str:
        done = self.shell.run(["sh", "-c", script], PATIENCE)
        assert done.status == 0, (script, done)
        return done.text


@pytest.fixture(scope="module")
def page(piimage_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("dashboard")
    shutil.copytree(APPLIANCE, folder / "appliance")
    done = subprocess.run(
        [PIIMAGE, "build", "page.yml", "-o", "out"],
        env={**os.environ, "PIIMAGE_STORE": str(piimage_store)},
        cwd=folder / "appliance", capture_output=True, text=True, timeout=850, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    image, runner = folder / "appliance/out/page.img", Runner()
    board = board_of(image)
    key, files = new_key(runner, folder)
    card = card_with(runner, image, board, folder, {**files, **TOKEN_OF_CARD})
    options = Options(disk_size=2 << 30, ssh_port=0, forwards=(Forward(free_port(), PORT),))
    with boot(card, board, runner, options) as session:
        session.wait_for("piimage: service dashboard: healthy", PATIENCE)
        assert session.ssh_port is not None
        shell = Shell(runner, key, session.ssh_port)
        shell.wait(PATIENCE)
        yield Page(session, shell, options.forwards[0].host)


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
