"""One boot of the virt machine from its finished card, looked at over SSH."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path
from secrets import token_hex

import pytest

from piimage.board import DiskKind
from piimage.emulator.session import Options, boot
from piimage.firmware.manifest import board_of
from piimage.run import Runner
from tests.system.boot.conftest import PATIENCE, Command, Pi

LASTING = ("hello_world", "keeping", "probing", "sshd", "trusting")
# The pipe `events` is descriptor 9 of a runner, and of no other process.
KILL_RUNNER = """
for file in /proc/[0-9]*/fd/9; do
    [ ! $file -ef /run/piimage/services/{0}/events ] || echo $file
done | cut -d / -f 3 | xargs kill -KILL
"""
GREETINGS = "grep -c '^HELLO from' /var/log/services/hello_world/log"
ALL_UP = f"""
names='^({"|".join(LASTING)}) '
until [ $(ctr -n services.linuxkit tasks ls | grep RUNNING | grep -cE "$names") = {len(LASTING)} ]
do sleep 2
done
"""


def console(pi: Pi) -> str:
    return "\n".join(line.text for line in pi.session.lines())


def test_the_service_runs_from_slot_a(pi: Pi) -> None:
    pi.task("hello_world")
    assert re.search(r"hello_world +\d+ +RUNNING", pi.say("ctr -n services.linuxkit tasks ls"))
    assert "HELLO from greenhouse: Linux " in console(pi)
    assert "piimage: slot /dev/vda2, containers from slot" in console(pi)
    facts = pi.say(". /run/piimage/boot; echo $PIIMAGE_SLOT_PARTITION; ls $PIIMAGE_SLOT")
    assert facts.split()[0] == "2"
    assert {"appliance.json", "layers", "config.txt"} <= set(facts.split())


def test_the_root_is_read_only_and_nothing_else_lasts_but_data(pi: Pi) -> None:
    script = """
    for path in /x /etc/x /usr/bin/x /containers/x /root/x; do
        if touch $path 2>/dev/null; then echo wrote $path; fi
    done
    touch /run/x /tmp/x /var/x /data/x
    awk '{print $2, $3}' /proc/mounts | grep -E '^/(run|tmp|var|data)? '
    """
    lines = pi.say(script).split("\n")
    assert not [line for line in lines if line.startswith("wrote")]
    kinds = dict(line.split() for line in lines if line)
    assert kinds == {
        "/": "overlay", "/run": "tmpfs", "/tmp": "tmpfs", "/var": "tmpfs", "/data": "ext4",
    }  # fmt: skip


def test_no_port_but_that_of_ssh_listens(pi: Pi) -> None:
    # proc_pid_net(5): local address, state; 0A listens. UDP has no such state: any socket counts.
    tcp = pi.say("cat /proc/net/tcp /proc/net/tcp6 | awk '$4 == \"0A\" {print $2}'").split()
    assert {int(address.rpartition(":")[2], 16) for address in tcp} == {22}
    assert pi.say("cat /proc/net/udp /proc/net/udp6 | grep -c : || :").strip() in ("0", "")


def test_a_service_has_no_privilege(pi: Pi) -> None:
    own = f"/proc/{pi.task('hello_world')}"
    status = pi.say(f"cat {own}/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    capabilities = [fields[f"Cap{which}"].strip() for which in ("Inh", "Prm", "Eff", "Bnd", "Amb")]
    assert {int(value, 16) for value in capabilities} == {0}
    assert fields["Seccomp"].strip() == "2"
    assert fields["NoNewPrivs"].strip() == "1"
    for kind in ("mnt", "pid"):
        assert pi.say(f"readlink {own}/ns/{kind}") != pi.say(f"readlink /proc/1/ns/{kind}"), kind


def test_a_service_writes_to_the_folder_that_was_made_for_its_bind(pi: Pi) -> None:
    pi.task("keeping")
    script = """
    until [ -s /data/keeping/state/written ]; do sleep 1; done
    stat -c '%u:%g %a' /data/keeping /data/keeping/state /data/keeping/state/written
    """
    assert pi.say(script).splitlines() == ["0:0 755", "1234:1235 755", "1234:1235 644"]


def probe(pi: Pi, script: str) -> str:
    """What `script` prints in a container with a writable root and a device, errors included."""
    return inside(pi, "probing", script)


def test_a_secret_reaches_its_container_and_nothing_else(
    pi: Pi, virt: Path, piimage: Command, piimage_store: Path, tmp_path: Path
) -> None:
    config = ssh_config(pi, tmp_path)
    began = int(time.time()) - 1
    value = token_hex(20)
    file = tmp_path / "token.txt"
    file.write_text(f"{value}\n")

    def output_of(*words: str | Path) -> str:
        done = piimage([*words, "--ssh-config", config])
        assert done.returncode == 0, done.stderr
        assert value not in done.stdout + done.stderr
        return done.stdout

    pi.say("until [ -s /run/piimage/services/secretive/missing ]; do sleep 1; done")
    assert "service secretive: waiting for a secret that is not set: token" in console(pi)
    assert "secretive waits for the secret token: piimage secret set pi token" in output_of(
        "ps", "pi"
    )
    assert output_of("secret", "ls", "pi").splitlines()[1].split() == ["token", "no", "secretive"]
    assert "restarted secretive" in output_of("secret", "set", "pi", "token", "--from", file)
    assert output_of("secret", "ls", "pi").splitlines()[1].split() == ["token", "yes", "secretive"]
    script = "cd /run/secrets; id -u; cat token; echo; stat -c %a:%u:%g . token; echo x >token"
    seen = inside(pi, "secretive", script).splitlines()
    assert seen[:4] == ["1234", value, "500:1234:1235", "400:1234:1235"]
    assert "Read-only file system" in seen[4]
    mounted = inside(pi, "secretive", "grep /run/secrets /proc/mounts").split()
    assert mounted[2] == "tmpfs"
    assert {"ro", "nosuid", "nodev", "noexec"} <= {*mounted[3].split(",")}
    kept, copy = "/data/piimage/provision/secrets", "/run/piimage/secrets"
    assert pi.say(f"stat -c %a {kept} {kept}/token {copy}").split() == ["700", "600", "700"]
    # grep -r would wait for the pipes in these folders. Some files of a service come and go.
    folders = "/data /etc /run/piimage /var /tmp /containers/"
    found = pi.say(f"find {folders} -type f -exec grep -lsF {value} {{}} + || :")
    assert {*found.split()} == {f"{kept}/token", f"{copy}/services/secretive/token"}
    assert value not in console(pi)
    output_of("backup", "pi", tmp_path / "data.tar")
    places = [virt.parent, piimage_store, tmp_path]
    holds = ["-newerct", f"@{began}", "-exec", "grep", "-lF", value, "{}", "+"]
    found_here = subprocess.run(
        ["find", *places, "-type", "f", *holds],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found_here.stdout.split() == [str(file)]
    assert "does not start again without it" in output_of("secret", "rm", "pi", "token")
    pi.say("initctl restart secretive; until grep -q waiting /run/piimage/services/secretive/state;"
           "do sleep 1; done; [ ! -e /run/piimage/secrets/services/secretive ]")  # fmt: skip


def test_a_service_with_a_schedule_runs_and_keeps_its_code(pi: Pi, tmp_path: Path) -> None:
    pi.say("until [ -s /data/minutely/runs ]; do sleep 1; done")
    state = "cd /run/piimage/services/minutely; "
    pi.say(f"{state} until [ -s exit ] && grep -q scheduled state; do sleep 1; done")
    assert pi.say(f"{state} cat exit").strip() == "3"
    assert "piimage: service minutely: scheduled" in console(pi)


def inside(pi: Pi, service: str, script: str) -> str:
    """What `script` prints in a container, errors included."""
    pi.task(service)
    words = f"exec {service} /usr/bin/busybox sh -c '{script}'"
    return pi.say(f"runc --root /run/containerd/runc/services.linuxkit {words} 2>&1 || :")


def ssh_config(pi: Pi, folder: Path) -> Path:
    """Write what leads ssh to the Pi by the name `pi`."""
    path = folder / "ssh_config"
    path.write_text(
        f"Host pi\n  HostName 127.0.0.1\n  Port {pi.shell.port}\n"
        f"  IdentityFile {pi.shell.key}\n  IdentitiesOnly yes\n"
        f"  StrictHostKeyChecking accept-new\n  UserKnownHostsFile {folder}/known_hosts\n"
    )
    return path


def test_a_writable_root_makes_the_kernel_s_own_files_no_more_writable(pi: Pi) -> None:
    for path in ("/sys/class/mem/null/uevent", "/proc/sys/vm/swappiness", "/proc/sysrq-trigger"):
        output = probe(pi, f"echo x >/written; cat /written; echo h >{path} && echo WROTE")
        assert "x" in output.split(), output  # among the shell's errors
        assert "Read-only file system" in output, (path, output)
        assert "WROTE" not in output, path


def test_a_device_that_a_container_has_opens_no_other(pi: Pi) -> None:
    read = "busybox head -c 4 {} | busybox wc -c"
    # The layers' own loop devices: major 7, minor by number.
    granted = probe(pi, f"busybox mknod /tmp/same b 7 0; {read.format('/dev/loop0')}; "
                        f"{read.format('/tmp/same')}")  # fmt: skip
    assert granted.split() == ["4", "4"], granted
    other = probe(pi, f"busybox mknod /tmp/other b 7 1; {read.format('/tmp/other')}")
    assert "Operation not permitted" in other
    assert "0" in other.split()
    # Not by a node in its root either, though it has the granted device's numbers.
    in_root = probe(pi, f"busybox mknod /same b 7 0; {read.format('/same')}")
    assert "Permission denied" in in_root
    assert "0" in in_root.split()


def test_every_layer_is_mounted_without_devices(pi: Pi) -> None:
    lines = [line.split() for line in pi.say("cat /proc/mounts").splitlines()]
    layers = [line for line in lines if line[2] == "squashfs" or line[0] == "overlay"]
    assert len(layers) > 4
    assert [line for line in layers if "nodev" not in line[3].split(",")] == []


def test_the_root_of_every_container_is_mounted_without_devices_and_as_the_file_says(
    pi: Pi,
) -> None:
    # proc_pid_mountinfo(5): the fifth field is the mount point, the sixth its options.
    wanted = {"hello_world": "ro", "keeping": "ro", "trusting": "ro", "probing": "rw"}
    for name, kind in wanted.items():
        mounts = pi.say(f"cat /proc/{pi.task(name)}/mountinfo")
        (options,) = (line.split()[5] for line in mounts.splitlines() if line.split()[4] == "/")
        assert {kind, "nodev"} <= set(options.split(",")), (name, options)


def test_containerd_tells_what_a_service_takes_and_what_happens(pi: Pi) -> None:
    client = "ctr -n services.linuxkit"
    pi.task("hello_world")
    metrics = pi.say(f"{client} tasks metrics hello_world")
    assert re.search(r"^memory\.usage +[1-9]", metrics, re.M), metrics
    # A task that is asked to pause says so.
    script = f"""
    timeout 20 {client} events >/tmp/events &
    sleep 2
    {client} tasks pause hello_world && {client} tasks resume hello_world
    until grep -q resumed /tmp/events; do sleep 1; done
    cat /tmp/events
    """
    assert re.search(r" services\.linuxkit /tasks/paused .*hello_world", pi.say(script))


def test_services_share_a_shim_and_one_process_keeps_the_log_of_each(pi: Pi) -> None:
    shims = pi.say("grep -l '^[0-9]* (containerd-shim) . 1 ' /proc/[0-9]*/stat | wc -l")
    assert int(shims) < len(LASTING)
    # A service that is down for a moment has a pipe, and nobody who reads it.
    readers = pi.say("for file in /proc/[0-9]*/fd/0; do readlink $file; done || :").split()
    pipes = [f"/run/piimage/services/{name}/output" for name in LASTING]
    assert [readers.count(pipe) for pipe in pipes] == [1] * len(LASTING)


def test_the_runtime_is_crun_by_the_name_of_runc(pi: Pi) -> None:
    assert pi.say("runc --version").startswith("crun version ")


def greeted(pi: Pi) -> int:
    """How often hello_world has said hello, as its log has it."""
    return int(pi.say(GREETINGS))


def running(pi: Pi) -> dict[str, str]:
    """The services that last, as containerd lists them, with their processes."""
    lines = pi.say("ctr -n services.linuxkit tasks ls").splitlines()
    listed = {line.split()[0]: line.split()[1] for line in lines if "RUNNING" in line}
    return {name: listed.get(name, "") for name in LASTING}


def test_a_containerd_that_is_killed_comes_back_with_every_service(pi: Pi) -> None:
    before = running(pi)
    pi.say("kill -KILL $(pidof containerd); sleep 2")
    pi.say("until ctr -n services.linuxkit tasks ls; do sleep 1; done")
    assert all(before.values()), before
    pi.say(ALL_UP)
    # A service that is stopped and started afterwards has lost nothing.
    greetings = greeted(pi)
    pi.restart("hello_world")
    pi.say(f"until [ $({GREETINGS}) -gt {greetings} ]; do sleep 1; done")


def test_a_runner_that_is_killed_has_a_successor_that_starts_the_service(pi: Pi) -> None:
    before, greetings = running(pi), greeted(pi)
    pi.say(KILL_RUNNER.format("hello_world"))
    pi.next_task("hello_world", before["hello_world"])
    after = running(pi)
    assert after["hello_world"] != before["hello_world"]
    assert after | {"hello_world": ""} == before | {"hello_world": ""}
    pi.say(f"until [ $({GREETINGS}) -gt {greetings} ]; do sleep 1; done")


def test_all_services_start_again_if_their_shim_is_killed(pi: Pi) -> None:
    before, greetings = running(pi), greeted(pi)
    killing = "sleep 1; kill -KILL $(pidof containerd-shim-runc-v2)"
    pi.say(f"({killing}) </dev/null >/dev/null 2>&1 &")
    pi.session.wait_for("piimage: service sshd: running", PATIENCE)
    pi.shell.wait(PATIENCE)
    for name in LASTING:
        pi.next_task(name, before[name])
    after = running(pi)
    assert all(after.values()), after
    assert [name for name in LASTING if after[name] == before[name]] == []
    pi.say(f"until [ $({GREETINGS}) -gt {greetings} ]; do sleep 1; done")


def test_a_container_that_runs_once_has_its_interface_from_its_start(pi: Pi) -> None:
    # Its command fails without the interface.
    assert "piimage: onboot 001-own-net: done" in console(pi)
    assert "inner" in pi.say("nsenter --net=/run/netns/own ip link show inner")
    assert "outer" in pi.say("ip link show outer")


def test_what_maintainer_scripts_would_have_made_is_there(pi: Pi) -> None:
    script = """
    for link in bin sbin lib containers etc/resolv.conf etc/finit.d/enabled usr/sbin/init; do
        echo "$link=$(readlink /$link)"
    done
    stat -c '%n=%a:%u:%g' /etc/passwd /etc/shadow /etc/group /root /tmp
    grep -q '^root:\\*:' /etc/shadow && echo locked
    id -u nobody; id -g nobody
    cat /etc/group /etc/motd /proc/sys/kernel/panic /proc/sys/kernel/hostname
    """
    output = pi.say(script)
    expected = [
        "bin=usr/bin", "sbin=usr/sbin", "lib=usr/lib", "etc/resolv.conf=../run/resolv.conf",
        "usr/sbin/init=finit", "/etc/passwd=644:0:0", "/etc/shadow=600:0:0", "/etc/group=644:0:0",
        "/root=700:0:0", "/tmp=1777:0:0", "locked", "65534", "i2c:x:990:", "Mind the plants.",
        "17", "greenhouse",
    ]  # fmt: skip
    assert [line for line in expected if line not in output.splitlines()] == []


def test_the_program_that_the_kernel_starts_for_a_module_loads_it(pi: Pi) -> None:
    # In the words of the kernel's own call (kernel/module/kmod.c).
    script = """
    rmmod i2c_dev && [ ! -e /sys/module/i2c_dev ]
    "$(cat /proc/sys/kernel/modprobe)" -q -- i2c_dev
    ls -d /sys/module/i2c_dev
    """
    assert pi.say(script).split() == ["/sys/module/i2c_dev"]


def test_a_container_has_its_user_and_its_certificates(pi: Pi) -> None:
    pi.task("trusting")
    inside = "runc --root /run/containerd/runc/services.linuxkit exec trusting "
    assert "uid=1234(keeper) gid=1235(keeper)" in pi.say(inside + "id")
    count = pi.say(inside + "grep -c 'BEGIN CERTIFICATE' /etc/ssl/certs/ca-certificates.crt")
    assert int(count) > 100
    assert pi.say(inside + "stat -c %u:%g:%a /home/keeper || :").strip() in ("1234:1235:700", "")


def test_the_data_partition_fills_the_card(pi: Pi) -> None:
    assert "piimage: data partition grown from " in console(pi)
    mebibytes = int(pi.say("df -m /data | tail -n 1 | awk '{print $2}'"))
    # 2 GiB less selector (16 MiB), two slots (512 MiB each) and what ext4 takes for itself.
    assert 850 < mebibytes < 1008


@pytest.mark.parametrize(
    ("kind", "partition"), [("usb", "sda2"), ("uas", "sda2"), ("nvme", "nvme0n1p2")]
)
def test_the_same_image_boots_from_another_disk_and_keeps_its_data_there(
    virt: Path, kind: str, partition: str
) -> None:
    board = board_of(virt)
    with boot(virt, board, Runner(), Options(disk_size=2 << 30, kind=DiskKind(kind))) as session:
        session.wait_for("piimage: data file system fills its partition", PATIENCE)
        lines = [line.text for line in session.lines()]
    assert f"piimage: slot /dev/{partition}, containers from slot" in lines
    assert [line for line in lines if line.startswith("piimage: data partition grown from ")]
    assert [line for line in lines if "did not load" in line or "DATA LOST" in line] == []


def test_data_is_seen_where_the_file_wants_it(pi: Pi) -> None:
    script = "echo kept >/srv/kept/seen; cat /data/seen; stat -c %d /data /srv/kept; rm /data/seen"
    output = pi.say(script)
    text, *devices = output.split()
    assert text == "kept"
    assert devices[0] == devices[1]


def test_a_vlan_is_made_and_the_port_that_carries_it_keeps_its_lease(pi: Pi) -> None:
    # /proc/net/vlan: what the kernel's 8021q says of it.
    output = pi.say("cat /proc/net/vlan/eth0.100; ip addr show dev eth0.100; ip addr show dev eth0")
    assert re.search(r"^eth0\.100 +VID: 100\b", output, re.MULTILINE)
    assert "inet 10.9.8.7/24 brd 10.9.8.255 scope global eth0.100" in output
    assert "inet 10.0.2.15/24 brd 10.0.2.255 scope global eth0" in output
    assert "piimage: network: eth0.100 has 10.9.8.7/24" in console(pi)


def test_process_1_feeds_the_boards_watchdog(pi: Pi) -> None:
    assert pi.say("readlink /dev/watchdog; cat /sys/class/watchdog/watchdog0/state").split() == [
        "watchdog0", "active",
    ]  # fmt: skip


def test_a_service_has_the_files_ring(pi: Pi) -> None:
    output = pi.say("cat /containers/services/hello_world/container.env")
    assert {"LOG_SIZE='65536'", "LOG_COUNT='2'"} <= set(output.splitlines())


def test_a_service_that_crashes_comes_back_later_and_later(pi: Pi) -> None:
    pi.say("until [ $(cat /run/piimage/services/crashing/restarts) -ge 3 ]; do sleep 1; done")
    pauses = re.findall(r"piimage: service crashing: restarting in (\d+) s", console(pi))
    assert pauses[:3] == ["1", "2", "4"]
    assert "piimage: service crashing: exited with code 7" in console(pi)


def test_a_service_that_ended_well_stays_down_on_failure_only(pi: Pi) -> None:
    pi.say("until [ -s /run/piimage/services/failing-once/exit ]; do sleep 1; done")
    assert pi.say("cat /run/piimage/services/failing-once/exit").strip() == "0"
    assert "failing-once: restarting" not in console(pi)


def test_data_survives_a_reboot_and_the_host_key_stays(pi: Pi) -> None:
    pi.say("mkdir /data/mine; echo kept >/data/mine/file")
    key = pi.say("sha256sum /data/ssh/dropbear_ed25519_host_key")
    pi.say("(sleep 1; initctl reboot) </dev/null >/dev/null 2>&1 &")
    restart = pi.session.wait_restart(PATIENCE)
    assert (restart.cause, restart.partition, restart.tryboot) == ("restart", 2, False)
    assert "reboot: Restarting system" in console(pi)
    first = len(pi.session.lines())
    pi.session.wait_for("piimage: service sshd: running", PATIENCE)
    pi.shell.wait(PATIENCE)
    assert pi.say("cat /data/mine/file") == "kept\n"
    assert pi.say("sha256sum /data/ssh/dropbear_ed25519_host_key") == key
    later = "\n".join(line.text for line in pi.session.lines()[first:])
    assert "data partition grown" not in later
    assert "DATA LOST" not in later
