"""Limits and AppArmor by a real kernel that has both, with a real runc in it.

The Pi's own functions prepare the containers in a guest whose root is the host's. It takes seconds
where the boot of a card takes minutes (tests/system/boot/test_virt_confinement.py).
"""

from __future__ import annotations

import io
import json
import platform
import shutil
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from chipmodels.testing.engines import named
from chipmodels.testing.machine import Machine

from piimage.compose.apparmor import shipped
from piimage.config.container import ContainerConfig, merge, secure_defaults
from piimage.container.apparmor import DEFAULT, DEFAULT_SYS, shipped_profile
from piimage.container.bundle import bundle
from piimage.container.rootfs import Root, notes_of
from piimage.container.spec import Container
from piimage.oci.models import Execution, canonical_json
from piimage.trees import folder
from tests.system.escapes import COMMANDS, READS, WRITES, script
from tests.system.guests import engines

PROGRAMS = Path(__file__).parents[3] / "appliance/rootfs/usr/lib/piimage"
FOLDERS = ("bin", "dev", "etc", "proc", "sys", "tmp", "usr", "data")
APPLETS = ("sh", "cat", "dd", "echo", "head", "sleep", "true")
ROOT = Root([notes_of([folder(name) for name in FOLDERS])])
MEMORY = 400  # MiB
PATIENCE = 300.0  # seconds
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
SECURITY = ("lsm=apparmor", "apparmor=1")

# `bare` has nothing but AppArmor in front of the kernel's files.
BARE: dict[str, Any] = {"maskedPaths": [], "readonlyPaths": []}
CONTAINERS: dict[str, dict[str, Any]] = {
    "greedy": {}, "quiet": {}, "bare": BARE, "open": {**BARE, "apparmor": "unconfined"},
}  # fmt: skip

GUEST = """#!/bin/bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mkdir /run/piimage
busybox sh -u {folder}/pi.sh
echo o >/proc/sysrq-trigger
sleep 60
"""

PI = """
. {programs}/lib.sh; . {programs}/container.sh; . {programs}/confine.sh
GROUP=/sys/fs/cgroup/piimage
BOMB='while :; do sleep 600 </dev/null >/dev/null 2>&1 & done'
HOG='dd if=/dev/zero of=/dev/null bs=300M count=1 2>/dev/null; echo $?'
SHM='dd if=/dev/zero of=/dev/shm/x bs=1M count=65 2>&1 | head -n 1'
tell() {{ echo "@$*"; }}
start() {{
    runc run -d --bundle {folder}/services/$1 --pid-file /run/$1.pid $1 \\
        </dev/null >/run/$1.out 2>&1
}}
mount_security
load_profiles {folder}
limit_containers
for name in greedy quiet bare open; do
    limit_container services/$name
    start $name && tell started $name
done
tell all-memory $(cat $GROUP/memory.max)
tell all-pids $(cat $GROUP/pids.max)
tell memory $(cat $GROUP/services/greedy/memory.max)
tell pids $(cat $GROUP/services/greedy/pids.max)
tell total $(awk '/^MemTotal/ {{print $2}}' /proc/meminfo)
tell label "$(runc exec greedy cat /proc/self/attr/current)"
tell group $(runc exec greedy cat /proc/self/cgroup)
for kind in ipc cgroup; do
    tell own-$kind $(readlink /proc/$(cat /run/greedy.pid)/ns/$kind)
    tell host-$kind $(readlink /proc/self/ns/$kind)
done
existing() {{ for path in "$@"; do [ ! -e $path ] || echo $path; done; }}
reads=$(existing {reads})
writes=$(existing {writes})
runc exec quiet sh -c "reads='$reads' writes='$writes'
$(cat {folder}/escapes)" | sed 's/^/@tried /'
tell bomb "$(runc exec greedy sh -c "$BOMB" 2>&1 | head -n 1)"
tell bombs $(cat $GROUP/services/greedy/pids.current)
tell beside-bomb "$(runc exec quiet echo runs)"
tell hog "$(runc exec quiet sh -c "$HOG")"
tell killed $(grep '^oom_kill ' $GROUP/services/quiet/memory.events)
tell killed-beside $(grep '^oom_kill ' $GROUP/services/greedy/memory.events)
for name in greedy quiet bare open; do kill -0 $(cat /run/$name.pid) && tell lives $name; done
tell shm "$(runc exec quiet sh -c "$SHM")"
for name in bare open; do
    tell $name "$(runc exec $name sh -c 'v=$(cat /proc/sys/vm/swappiness)
        echo $v >/proc/sys/vm/swappiness && echo WROTE; echo x >/proc/self/comm && echo OWN
        head -c 1 /proc/keys >/dev/null && echo KEYS' 2>/dev/null | tr '\\n' ' ')"
done
runc kill bare KILL; sleep 1; runc delete -f bare
printf {default} >/sys/kernel/security/apparmor/.remove
start bare || tell refused "$(head -n 1 /run/bare.out)"
tell beside "$(runc exec open echo runs)"
"""


def write_container(at: Path, root: Path, name: str, fields: dict[str, Any]) -> None:
    """Write the bundle of a container, as the build does."""
    # A machine that is a container itself may not raise its limit to the default.
    given = {"command": ["/bin/sleep", "1000000"], "rlimits": ["nofile,512,1024"], **fields}
    config = merge(secure_defaults(), ContainerConfig.model_validate(given))
    container = Container(
        name, "services", name, config, Execution(), ROOT, ("aa",), "test",
        apparmor=shipped_profile(config),
    )  # fmt: skip
    for entry in bundle(container, {}, ARCHITECTURE):
        target = at / entry.path
        if entry.path.endswith("config.json"):
            spec = json.loads(b"".join(entry.content()))
            spec["root"]["path"] = str(root)  # on the Pi the root is mounted where this says
            del spec["hooks"]  # which mount the root again; here it is a folder
            target.write_bytes(canonical_json(spec))
        elif entry.path.endswith(f"/{name}"):
            target.mkdir(parents=True)


@pytest.fixture(scope="module", params=engines())
def told(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[str]]:
    """What the guest printed, by the first word of each line."""
    at = tmp_path_factory.mktemp("confined")
    root = at / "root"
    for name in FOLDERS:
        (root / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    for applet in APPLETS:
        (root / "bin" / applet).symlink_to("busybox")
    for name, fields in CONTAINERS.items():
        write_container(at, root, name, fields)
    (at / "apparmor").mkdir()
    for name in (DEFAULT, DEFAULT_SYS):
        policy = shipped(name).policy
        assert isinstance(policy, bytes)
        (at / "apparmor" / name).write_bytes(policy)
    (at / "escapes").write_text(script("$reads", "$writes"))
    reads, writes = (" ".join(text.split()) for text in (READS, WRITES))
    (at / "pi.sh").write_text(
        PI.format(programs=PROGRAMS, folder=at, default=DEFAULT, reads=reads, writes=writes)
    )
    (at / "init").write_text(GUEST.format(folder=at))
    (at / "init").chmod(0o755)
    console = io.StringIO()
    engine = named(request.param)
    with closing(
        Machine(engine, at, at / "init", MEMORY, echo=console, parameters=SECURITY)
    ) as machine:
        assert machine.wait(PATIENCE), machine.obituary("the guest did not end")
    found: dict[str, list[str]] = {}
    output = console.getvalue()
    for line in output.splitlines():
        if line.startswith("@"):
            key, _, rest = line[1:].partition(" ")
            found.setdefault(key, []).append(rest.strip())
    assert "beside" in found, output
    return found


def test_each_container_has_its_share_and_runc_leaves_it(told: dict[str, list[str]]) -> None:
    assert told["started"] == list(CONTAINERS)
    total = int(told["total"][0])
    page = 4096
    assert int(told["all-memory"][0]) == (total - total // 4) * 1024 // page * page
    assert int(told["memory"][0]) == (total - total // 4) * 3 // 4 * 1024 // page * page
    assert (int(told["all-pids"][0]), int(told["pids"][0])) == (total * 6 // 1024, total // 1024)


def test_no_file_and_no_command_leads_out_of_a_container(
    told: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        sys.stdout.write("".join(f"\n  {line}" for line in told["tried"]))
    tried = {line.partition(" ")[0] for line in told["tried"]}
    assert {"/proc/kcore", "/proc/sysrq-trigger", "/proc/sys/kernel/modprobe"} <= tried
    assert set(COMMANDS) <= tried
    assert [line for line in told["tried"] if not line.endswith(" refused")] == []


def test_a_fork_bomb_ends_in_its_own_container(told: dict[str, list[str]]) -> None:
    assert "t fork" in told["bomb"][0]
    assert int(told["bombs"][0]) >= int(told["pids"][0]) - 2
    assert told["beside-bomb"] == ["runs"]


def test_a_memory_hog_ends_in_its_own_container(told: dict[str, list[str]]) -> None:
    assert told["hog"] == ["137"]
    assert told["killed"] == ["oom_kill 1"]
    assert told["killed-beside"] == ["oom_kill 0"]
    assert told["lives"] == list(CONTAINERS)


def test_shared_memory_is_bounded(told: dict[str, list[str]]) -> None:
    assert "No space left on device" in told["shm"][0]


def test_ipc_and_control_groups_are_the_container_s_own(told: dict[str, list[str]]) -> None:
    assert told["group"] == ["0::/"]
    assert told["own-ipc"] != told["host-ipc"]
    assert told["own-cgroup"] != told["host-cgroup"]


def test_the_profile_denies_what_nothing_else_protects(told: dict[str, list[str]]) -> None:
    assert told["label"] == ["piimage-default (enforce)"]
    assert told["bare"] == ["OWN"]
    assert told["open"] == ["WROTE OWN KEYS"]


def test_a_profile_that_is_not_loaded_stops_the_container_that_names_it(
    told: dict[str, list[str]],
) -> None:
    assert "apparmor" in told["refused"][0]
    assert told["beside"] == ["runs"]
