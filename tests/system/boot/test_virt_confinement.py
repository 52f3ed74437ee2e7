"""What holds a container on a Pi that is up: limits, namespaces, AppArmor, the kernel's settings.

The same boot as that of test_virt.py. tests/system/oci/test_escapes.py tries the system calls.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from piimage import resources
from piimage.compose.apparmor import features
from piimage.container.spec import MASKED
from tests.system.boot.conftest import PATIENCE, Pi
from tests.system.boot.test_virt import console
from tests.system.escapes import COMMANDS, READS, WRITES, script

RUNC = "runc --root /run/containerd/runc/services.linuxkit"
GROUP = "/sys/fs/cgroup/piimage/services"


def inside(pi: Pi, service: str, script: str) -> str:
    """What `script` prints in the container of `service`, errors included."""
    pi.task(service)
    return pi.say(f"{RUNC} exec {service} /usr/bin/busybox sh -c '{script}' 2>&1 || :")


def state(pi: Pi, *services: str) -> dict[str, str]:
    """The processes of `services`, which change if one is restarted."""
    return {name: pi.task(name) for name in services}


def test_no_file_and_no_command_leads_out_of_a_container(
    pi: Pi, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = " ".join((READS + WRITES).split())
    assert pi.say(f"for path in {paths}; do [ -e $path ] || echo $path; done") == ""
    lines = inside(
        pi, "greedy", script(" ".join(READS.split()), " ".join(WRITES.split()))
    ).splitlines()
    with capsys.disabled():
        sys.stdout.write("".join(f"\n  {line}" for line in lines))
    tried = len((READS + WRITES).split()) + len(COMMANDS)
    assert len([line for line in lines if line.endswith((" refused", " OUT"))]) == tried, lines
    assert [line for line in lines if not line.endswith(" refused")] == []


def test_a_fork_bomb_and_a_memory_hog_leave_the_others_as_they_were(pi: Pi) -> None:
    others = ("hello_world", "keeping", "greedy", "bombed")
    before = state(pi, *others)
    # Each sleeps, so that the machine is not busy with them; the shell ends when a fork fails.
    # They hold no pipe of `runc exec`, which would wait for their ends.
    bomb = "while :; do sleep 600 </dev/null >/dev/null 2>&1 & done"
    assert "t fork" in inside(pi, "bombed", bomb)
    limit = int(pi.say(f"cat {GROUP}/bombed/pids.max"))
    assert int(pi.say("awk '/^MemTotal/ {print $2}' /proc/meminfo")) // 1024 == limit
    assert int(pi.say(f"cat {GROUP}/bombed/pids.current")) >= limit - 2
    assert "ok" in inside(pi, "keeping", "busybox true && echo ok")
    # One block of three quarters of the machine's memory.
    hog = inside(pi, "greedy", "busybox dd if=/dev/zero of=/dev/null bs=750M count=1; echo code $?")
    assert "code 137" in hog, hog
    assert int(pi.say(f"cat {GROUP}/greedy/memory.max")) < 600 << 20
    assert re.search(r"^oom_kill [1-9]", pi.say(f"cat {GROUP}/greedy/memory.events"), re.MULTILINE)
    assert state(pi, *others) == before
    assert "oom_kill 0" in pi.say(f"cat {GROUP}/keeping/memory.events")
    # What is left of the bomb ends with the service.
    pi.restart("bombed")


def test_a_service_has_its_own_ipc_and_cgroup_namespace(pi: Pi) -> None:
    own = f"/proc/{pi.task('greedy')}/ns"
    for kind in ("ipc", "cgroup"):
        assert pi.say(f"readlink {own}/{kind}") != pi.say(f"readlink /proc/1/ns/{kind}"), kind
    assert "0::/" in inside(pi, "greedy", "cat /proc/self/cgroup").splitlines()


def test_every_tmpfs_is_closed_to_devices_and_set_user_ids(pi: Pi) -> None:
    own = pi.say(f"cat /proc/{pi.task('greedy')}/mounts")
    mounts = [line.split() for line in own.splitlines()]
    filesystems = {mount[1]: mount[3].split(",") for mount in mounts if mount[2] == "tmpfs"}
    assert {"/dev", "/dev/shm"} <= set(filesystems)
    for place, options in filesystems.items():
        if place in MASKED:
            continue  # an empty one, which hides a folder
        assert "nosuid" in options, place
        # A container's devices are in its /dev.
        assert place == "/dev" or "nodev" in options, place
    assert "size=65536k" in filesystems["/dev/shm"]
    host = [line.split() for line in pi.say("cat /proc/mounts").splitlines()]
    for mount in host:
        if mount[1] in ("/run", "/tmp", "/var") or mount[1].startswith("/run/piimage/upper/"):
            assert {"nosuid", "nodev"} <= set(mount[3].split(",")), mount[1]


def test_the_kernel_has_the_settings_of_the_system(pi: Pi) -> None:
    file = resources.path("appliance") / "rootfs/etc/sysctl.d/10-piimage.conf"
    lines = [line for line in file.read_text().splitlines() if line and line[0] != "#"]
    wanted = dict(line.lstrip("-").split(" = ") for line in lines)
    wanted["kernel.panic"] = "17"  # the file's own
    paths = {key: f"/proc/sys/{key.replace('.', '/')}" for key in wanted}
    found = pi.say("\n".join(f"cat {path} || echo none" for path in paths.values())).split()
    assert dict(zip(paths, found, strict=True)) == wanted
    for name in ("accept_redirects", "send_redirects", "accept_source_route"):
        assert pi.say(f"cat /proc/sys/net/ipv4/conf/eth0/{name}").strip() == "0", name
    assert pi.say("cat /proc/sys/net/ipv6/conf/eth0/accept_redirects").strip() == "0"
    assert "sysctl" not in console(pi)


def leaves(text: str) -> dict[str, set[str]]:
    """The words of each feature by its path, from the parser's form: ``a {b {words`` and ``}``."""
    found: dict[str, set[str]] = {}
    path: list[str] = []
    for line in text.splitlines():
        if line == "}":
            path.pop()
            continue
        *names, words = line.split(" {")
        path += names
        found["/".join(path)] = set(words.split())
    return found


def test_the_profiles_are_compiled_for_features_that_this_kernel_has(pi: Pi) -> None:
    assert "apparmor" in pi.say("cat /sys/kernel/security/lsm")
    folder = "/sys/kernel/security/apparmor/features"
    wanted = leaves(features().decode())
    assert wanted["file/mask"] >= {"read", "write", "exec"}
    listing = pi.say(f"cd {folder}; grep -r . .")
    found = dict(line[2:].split(":", 1) for line in listing.splitlines())
    for path, words in wanted.items():
        assert words <= set(found.get(path, "").split()), (path, found.get(path))


def test_a_container_is_confined_by_its_profile_and_the_shell_is_not(pi: Pi) -> None:
    label = "cat /proc/self/attr/current"
    assert inside(pi, "greedy", label).strip() == "piimage-default (enforce)"
    assert inside(pi, "open", label).strip() == "unconfined"
    assert re.fullmatch(
        r"piimage-picky-[0-9a-f]{12} \(enforce\)", inside(pi, "picky", label).strip()
    )
    assert pi.say(label).strip() == "unconfined"


def test_what_the_profile_denies_is_denied_where_nothing_else_protects_it(pi: Pi) -> None:
    # Reads of the memory, and writes that change nothing: the value that is there.
    script = """
    busybox head -c 4 /proc/kcore >/dev/null && echo READ
    value=$(cat /proc/sys/vm/swappiness); echo $value >/proc/sys/vm/swappiness && echo WROTE
    echo x >/proc/self/comm && echo OWN
    """
    denied, open_ = inside(pi, "bare", script), inside(pi, "open", script)
    assert denied.count("Permission denied") == 2, denied
    assert "READ" not in denied and "WROTE" not in denied, denied
    assert "OWN" in denied
    assert "WROTE" in open_ and "Permission denied" not in open_, open_


def test_a_profile_of_one_s_own_denies_what_it_says(pi: Pi) -> None:
    assert "Permission denied" in inside(pi, "picky", "cat /proc/version")
    assert "Permission denied" in inside(pi, "picky", "busybox nc 127.0.0.1 22 </dev/null")
    assert "ok" in inside(pi, "picky", "cat /proc/self/status >/dev/null && echo ok")


def test_a_profile_that_is_not_loaded_stops_only_the_container_that_names_it(pi: Pi) -> None:
    others = ("hello_world", "greedy")
    before = state(pi, *others)
    name = inside(pi, "picky", "cat /proc/self/attr/current").split()[0]
    security = "/sys/kernel/security/apparmor"
    pi.say(f"printf {name} >{security}/.remove; kill -KILL {pi.task('picky')}")
    pi.session.wait_for("piimage: service picky: FAILED to start", PATIENCE)
    assert state(pi, *others) == before
    load = f"dd if=/containers/apparmor/{name} of={security}/.replace bs=1M conv=notrunc"
    pi.say(f"{load} 2>/dev/null")
    assert inside(pi, "picky", "cat /proc/self/attr/current").split()[0] == name


def test_the_profiles_lie_in_the_containers_layer(virt: Path, pi: Pi) -> None:
    assert virt.exists()
    names = pi.say("ls /containers/apparmor").split()
    assert names[0] == "piimage-default"
    assert names[1].startswith("piimage-picky-")
    loaded = pi.say("cat /sys/kernel/security/apparmor/profiles")
    for name in names:
        assert f"{name} (enforce)" in loaded
