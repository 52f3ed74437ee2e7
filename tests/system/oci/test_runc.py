"""Bundles as they are produced, run by a real runc on this host; as root."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any
from unittest.mock import patch

import pytest

from piimage.config.container import ContainerConfig, merge, secure_defaults
from piimage.container.bundle import bundle, prestart
from piimage.container.rootfs import Root, notes_of
from piimage.container.spec import Container, run_as
from piimage.oci.models import Execution, canonical_json
from piimage.trees import file, folder

PROGRAMS = Path(__file__).parents[3] / "appliance/rootfs/usr/lib/piimage"
APPLETS = ("sh", "cat", "id", "ls", "echo", "touch", "mount", "hostname", "grep", "stat", "dd",
           "mknod")  # fmt: skip
FOLDERS = ("bin", "dev", "etc", "proc", "sys", "tmp", "usr", "data")
PASSWD = b"root:x:0:0::/:/bin/sh\nsensor:x:110:120::/:/bin/sh\n"
ROOT = Root([notes_of([folder(name) for name in FOLDERS] + [file("etc/passwd", PASSWD)])])
# Debian's own: it lies below /usr, which the container is lent.
PYTHON = "/usr/bin/python3"
SAME_IDS = [{"containerID": 0, "hostID": 0, "size": 65536}]
MAPPING = [{"containerID": 0, "hostID": 100000, "size": 65536}]


@dataclass(frozen=True)
class Result:
    status: int
    out: str


@dataclass(frozen=True)
class Host:
    """Runs containers whose root is a small busybox one."""

    tmp: Path
    root: Path

    def run(self, script: str, **fields: Any) -> Result:
        # One pipe for output and errors: by two, runc passes them on in any order.
        return self.run_words("/bin/sh", "-c", f"exec 2>&1\n{script}", **fields)

    def run_words(self, *words: str, **fields: Any) -> Result:
        # A machine that is a container itself may not raise its limit to the default.
        limits = [*fields.get("rlimits", ())]
        if not any(limit.startswith("nofile,") for limit in limits):
            limits.append("nofile,512,1024")
        fields = {**fields, "rlimits": limits}
        given = ContainerConfig.model_validate({"command": list(words), **fields})
        config = merge(secure_defaults(), given)
        container = Container("t", "services", "t", config, Execution(), ROOT, ("aa",), "test")
        name = f"piimage-test-{self.tmp.name}"
        folder = self.tmp / "bundle"
        self._write(container, folder)
        command = [
            "runc",
            "--root",
            self.tmp / "runc",
            "run",
            "--bundle",
            self._ready(container),
            name,
        ]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False
        )
        return Result(done.returncode, done.stdout.decode())

    def _ready(self, container: Container) -> str:
        """Do what the Pi does before a start, by its own functions; return the bundle to run."""
        at = f"{self.tmp}/bundle"
        script = (
            f". {PROGRAMS}/lib.sh; . {PROGRAMS}/container.sh; RUN={self.tmp}/run\n"
            f"SECRETS_STORE={self.tmp}/store\n"
            f"load_container {at}; lay_secrets services/t\n"
            f"rm -f {self.tmp}/run/devices/services/t\n"
            f"{prestart(container, run_as(container, {}))}\n"
            f'configure {at} services/t; echo "$REPLY"'
        )
        words = ["busybox", "sh", "-euc", script]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()

    def _write(self, container: Container, target: Path) -> None:
        target.mkdir(exist_ok=True)
        # On the Pi the root is mounted below ROOTS, and secrets are below /run.
        with patch("piimage.container.spec.ROOTS", str(self.root.parents[1])):
            entries = list(bundle(container, {}, "amd64"))
        for entry in entries:
            name = PurePosixPath(entry.path).name
            data = b"".join(entry.content())
            if name == "config.json":
                (target / name).write_bytes(self._with_secrets(data))
            elif name == "container.env":
                (target / name).write_bytes(data)

    def _with_secrets(self, config: bytes) -> bytes:
        spec = json.loads(config)
        for mount in spec["mounts"]:
            if mount["destination"] == "/run/secrets":
                mount["source"] = f"{self.tmp}/run/secrets/services/t"
        return canonical_json(spec)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    root = tmp_path / "services" / "t"
    for name in FOLDERS:
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    busybox = shutil.which("busybox")
    assert busybox, "install busybox-static"
    shutil.copy(busybox, root / "bin/busybox")
    for applet in APPLETS:
        (root / "bin" / applet).symlink_to("busybox")
    (root / "lib64").symlink_to("usr/lib64")
    (root / "lib").symlink_to("usr/lib")
    (root / "etc/passwd").write_bytes(PASSWD)
    # pytest's folders are closed to others, and a user namespace has to get through them.
    for parent in (tmp_path, *tmp_path.parents):
        if parent.is_relative_to("/tmp") and parent != Path("/tmp"):
            parent.chmod(parent.stat().st_mode | 0o011)
    yield Host(tmp_path, root)
    shutil.rmtree("/dev/piimage/services/t", ignore_errors=True)


@pytest.mark.parametrize(
    ("fields", "owner"),
    [
        ({"user": "sensor"}, "110:120"),
        ({}, "0:0"),
        ({"user": "sensor", "uidMappings": MAPPING, "gidMappings": MAPPING}, "110:120"),
    ],
)
def test_a_secret_is_read_by_the_containers_user_and_changed_by_nobody(
    host: Host, fields: dict[str, Any], owner: str
) -> None:
    (host.tmp / "store").mkdir()
    (host.tmp / "store/token").write_bytes(b"precious")
    (host.root / "run/secrets").mkdir(parents=True)
    script = """
    cat /run/secrets/token; echo
    stat -c %a:%u:%g /run/secrets /run/secrets/token
    grep ' /run/secrets ' /proc/mounts
    echo x >/run/secrets/token || echo x >/run/secrets/other || echo unchanged
    """
    result = host.run(script, secrets=["token"], **fields)
    lines = result.out.splitlines()
    assert lines[:3] == ["precious", f"500:{owner}", f"400:{owner}"], result.out
    assert {"ro", "nosuid", "nodev", "noexec"} <= {*lines[3].split()[3].split(",")}
    assert "unchanged" in lines


def call(host: Host, number: int, *arguments: int, **fields: Any) -> str:
    """The errno name (or "ok") of a system call that a program in the container makes."""
    code = (
        "import ctypes, errno\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        f"words = [ctypes.c_long(w) for w in {[number, *arguments]}]\n"
        "done = libc.syscall(*words)\n"
        "print('ok' if done >= 0 else errno.errorcode[ctypes.get_errno()])\n"
    )
    result = host.run_words(PYTHON, "-I", "-c", code, binds=["/usr:/usr:ro"], **fields)
    return result.out.strip()


# System call numbers of x86_64.
KEYCTL, UNSHARE, MOUNT, CLONE, CLONE3, BPF, IO_URING, REBOOT = 250, 272, 165, 56, 435, 321, 425, 169
NEW_USER = 0x10000000


@pytest.mark.parametrize(
    ("number", "arguments", "expected"),
    [
        (KEYCTL, (0, -3, 1), "EPERM"),
        (UNSHARE, (NEW_USER,), "EPERM"),
        (MOUNT, (0, 0, 0, 0, 0), "EPERM"),
        (CLONE, (NEW_USER | 17, 0, 0, 0, 0), "EPERM"),
        (CLONE3, (0, 0), "ENOSYS"),
        (BPF, (0, 0, 0), "EPERM"),
        (IO_URING, (1, 0), "EPERM"),
        (REBOOT, (0, 0, 0, 0), "EPERM"),
        (39, (), "ok"),  # getpid
        (135, (0xFFFFFFFF,), "ok"),  # personality: which one is it
        (135, (0x0040000,), "EPERM"),  # personality: no address randomisation
        (41, (40, 1, 0), "EPERM"),  # socket of AF_VSOCK
        (41, (2, 2, 0), "ok"),  # socket of AF_INET
    ],
)
def test_the_default_profile_refuses_and_allows(
    host: Host, number: int, arguments: tuple[int, ...], expected: str
) -> None:
    assert call(host, number, *arguments) == expected


def test_it_is_the_profile_that_refuses(host: Host) -> None:
    assert call(host, KEYCTL, 0, -3, 1, seccomp="unconfined") == "ok"
    assert call(host, UNSHARE, NEW_USER, seccomp="unconfined") == "ok"


def test_a_capability_brings_its_calls(host: Host) -> None:
    ran = host.run("mount -t tmpfs none /tmp && touch /tmp/x && echo MOUNTED",
                    capabilities=["CAP_SYS_ADMIN"])  # fmt: skip
    assert (ran.status, ran.out) == (0, "MOUNTED\n")
    assert host.run("mount -t tmpfs none /tmp").status != 0


def test_ordinary_programs_run(host: Host) -> None:
    code = (
        "import threading, subprocess, tempfile, socket, multiprocessing.dummy, ssl, sqlite3\n"
        "t = threading.Thread(target=print, args=('thread',)); t.start(); t.join()\n"
        "print(subprocess.run(['/bin/echo', 'child'], capture_output=True).stdout)\n"
        "a, b = socket.socketpair(); a.send(b'x'); print(b.recv(1))\n"
        "tempfile.TemporaryFile().write(b'x'); print('DONE')\n"
    )
    ran = host.run_words(PYTHON, "-I", "-c", code, binds=["/usr:/usr:ro"], tmpfs=["/tmp:mode=1777"])
    assert ran.out.endswith("DONE\n"), ran.out


def test_the_defaults_hold_inside(host: Host) -> None:
    ran = host.run(
        "cat /proc/self/status; touch /x || echo READONLY; echo 1 >/proc/sys/vm/swappiness"
    )
    assert "CapEff:\t0000000000000000" in ran.out
    assert "CapBnd:\t0000000000000000" in ran.out
    assert "NoNewPrivs:\t1" in ran.out
    assert "Seccomp:\t2" in ran.out
    assert "READONLY" in ran.out
    assert ran.status != 0
    assert not (host.root / "x").exists()


def test_the_hosts_devices_are_closed(host: Host) -> None:
    ran = host.run("mknod /tmp/m c 1 1 && cat /tmp/m", tmpfs=["/tmp:dev"],
                    capabilities=["CAP_MKNOD"])  # fmt: skip
    assert "not permitted" in ran.out


def test_a_device_of_the_host_belongs_to_the_containers_user(host: Host) -> None:
    ran = host.run(
        "stat -c '%t:%T %u:%g %a' /dev/kmsg; "
        "dd if=/dev/kmsg bs=8192 count=1 >/dev/null && echo OPEN",
        devices=["/dev/kmsg"], user="sensor", capabilities=["CAP_SYSLOG"], ambient=["CAP_SYSLOG"],
    )  # fmt: skip
    assert ran.out.splitlines()[0] == "1:b 110:120 600"
    assert "OPEN" in ran.out


def test_a_device_of_the_host_opens_no_other_of_its_type(host: Host) -> None:
    # misc devices: fuse is 10:229, loop-control 10:237 (Documentation/admin-guide/devices.txt).
    script = (
        ": </dev/fuse && echo GRANTED; mknod /tmp/same c 10 229; : </tmp/same && echo SAME; "
        "mknod /tmp/other c 10 237; : </tmp/other && echo OTHER"
    )
    wanted = {"tmpfs": ["/tmp:dev"], "capabilities": ["CAP_MKNOD"]}
    ran = host.run(script, devices=["/dev/fuse"], **wanted)
    # Output and errors come by two pipes of runc's, in either order.
    assert {"GRANTED", "SAME"} <= set(ran.out.splitlines())
    assert "OTHER" not in ran.out
    assert "/tmp/other: Operation not permitted" in ran.out


@pytest.mark.parametrize("readonly", [True, False])
def test_sys_is_read_only_without_cap_sys_admin(host: Host, readonly: bool) -> None:
    script = "echo add >/sys/class/mem/null/uevent && echo WRITTEN"
    ran = host.run(script, readonly=readonly)
    assert "Read-only file system" in ran.out
    assert "WRITTEN" not in ran.out
    mapped = host.run(script, readonly=readonly, uidMappings=SAME_IDS, gidMappings=SAME_IDS)
    assert "Read-only file system" in mapped.out


def test_a_device_with_numbers_is_there(host: Host) -> None:
    device = {"path": "/dev/my-null", "type": "c", "major": 1, "minor": 3, "mode": "0600"}
    ran = host.run("echo x >/dev/my-null && stat -c '%t:%T %u %a' /dev/my-null",
                    devices=[device], user="sensor")  # fmt: skip
    assert ran.out == "1:3 110 600\n"


def test_a_user_namespace_maps_root_to_nobody_special(host: Host) -> None:
    ran = host.run(
        "id -u; cat /proc/self/uid_map; ls /sys/class >/dev/null && echo SYS; ls /sys/fs/cgroup",
        uidMappings=MAPPING, gidMappings=MAPPING,
    )  # fmt: skip
    lines = ran.out.split()
    assert lines[:5] == ["0", "0", "100000", "65536", "SYS"], ran.out
    assert ran.status == 0


def test_a_writable_root_is_an_overlay_in_memory(host: Host) -> None:
    upper, merged = host.tmp / "upper", host.tmp / "merged/services/t"
    upper.mkdir()
    merged.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", upper], check=True)
    try:
        for name in ("up", "work"):
            (upper / name).mkdir()
        options = f"lowerdir={host.root},upperdir={upper}/up,workdir={upper}/work"
        subprocess.run(["mount", "-t", "overlay", "-o", options, "none", merged], check=True)
        try:
            merged_host = replace(host, root=merged)
            binds = ["/etc/hostname:/new/point"]
            ran = merged_host.run("echo y >/f && cat /f", readonly=False, binds=binds)
        finally:
            subprocess.run(["umount", merged], check=True)
        assert (ran.status, ran.out) == (0, "y\n")
        assert (upper / "up/f").read_text() == "y\n"
    finally:
        subprocess.run(["umount", upper], check=True)


def test_limits_sysctl_hostname_and_environment_arrive(host: Host) -> None:
    ran = host.run(
        "hostname; echo $A:$PATH; cat /proc/sys/kernel/shm_rmid_forced; "
        "grep 'open files' /proc/self/limits; cat /proc/self/oom_score_adj; "
        "grep Groups /proc/self/status",
        hostname="box", ipc="new", env=["A=b c"], rlimits=["nofile,100,200"], oomScoreAdj=77,
        sysctl={"kernel.shm_rmid_forced": 1}, uid=5, gid=6, additionalGids=[7, 8],
    )  # fmt: skip
    lines = ran.out.splitlines()
    assert lines[0] == "box"
    assert lines[1].startswith("b c:/usr/local/sbin:")
    assert lines[2] == "1"
    assert lines[3].split()[3:5] == ["100", "200"]
    assert lines[4] == "77"
    assert lines[5].split()[1:] == ["7", "8"]
