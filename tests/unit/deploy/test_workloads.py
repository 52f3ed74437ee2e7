"""Which containers of a file other systems get."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from piimage.boards import load_board
from piimage.build import Project
from piimage.config.models import Appliance
from piimage.deploy.workloads import build_workloads, split_portable
from piimage.errors import InputError
from piimage.events import Event, Note
from piimage.locking.inputs import Inputs
from piimage.plan.containers import plan_containers
from piimage.run import Runner
from piimage.store import Store
from tests.unit.plan.locks import lock_of

BUSYBOX = {"packages": ["busybox-static"], "command": ["/usr/bin/busybox", "true"]}
GREENHOUSE: dict[str, Any] = {
    "network": {"country": "JP", "wifi": {"ssid": "shed"}},
    "onboot": [{"name": "dhcp", "use": "dhcp"}],
    "onshutdown": [{"name": "last", **BUSYBOX}],
    "services": [
        {"name": "sshd", "use": "sshd"},
        {"name": "dhcp-renew", "use": "dhcp-renew"},
        {"name": "clock", "use": "ntp"},
        {"name": "hello", "use": "hello_world"},
        {"name": "states", **BUSYBOX, "binds": ["/run/piimage/health:/health:ro"]},
        {"name": "both", **BUSYBOX, "binds": ["/data/piimage:/x"], "system": False},
        {"name": "near", **BUSYBOX, "binds": ["/data/piimages:/x"]},
        {"name": "said", **BUSYBOX, "system": True},
        {"name": "panel", **BUSYBOX, "control": True},
        {"name": "page", **BUSYBOX, "net": "bridge"},  # refused by name, and not left out
    ],
}


def project(**sections: object) -> Project:
    appliance = Appliance.model_validate(sections)
    board = load_board("qemu-virt")
    return Project(appliance, board, lock_of(appliance, board), "a")


def test_other_systems_get_what_makes_sense_without_piimages_own() -> None:
    made = project(**GREENHOUSE)
    kept, left_out = split_portable(plan_containers(made.appliance, made.lock, {}).containers)
    assert [workload.name for workload in kept] == ["hello", "both", "near", "page"]
    assert sorted(workload.name for workload in left_out) == [
        "clock", "dhcp", "dhcp-renew", "last", "panel", "said", "sshd", "states", "wifi",
    ]  # fmt: skip


def test_what_is_left_out_is_named_in_one_line(tmp_path: Path) -> None:
    told: list[Event] = []
    sections = {**GREENHOUSE, "services": GREENHOUSE["services"][:2]}
    inputs = Inputs(Store(tmp_path), Runner(), told.append, lambda: 0.0)
    assert build_workloads(project(**sections), inputs) == ()
    assert [event.text for event in told if isinstance(event, Note)] == [
        "skipped, because they need piimage's own system: "
        "dhcp (onboot), last (onshutdown), sshd, dhcp-renew, wifi"
    ]


@pytest.mark.provokes("deploy.beyond-target")
def test_what_is_asked_for_by_name_is_refused_and_not_left_out(tmp_path: Path) -> None:
    inputs = Inputs(Store(tmp_path), Runner(), lambda _: None, lambda: 0.0)
    with pytest.raises(InputError, match="sshd needs piimage's own") as caught:
        build_workloads(project(**GREENHOUSE), inputs, ["hello", "sshd"])
    assert caught.value.code == "deploy.beyond-target"
    assert caught.value.place == "services.sshd"
