"""One boot of the virt machine: good and bad deploys, and what one does next."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
import tarfile
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from piimage.deploy import answers
from piimage.deploy.release import Release
from piimage.errors import PiimageError
from piimage.store import Store
from tests.system.deploy.greenhouse import Greenhouse, Pi, booted, card_and_key
from tests.system.deploy.outage import watched

PIIMAGE = Path(sys.executable).with_name("piimage")
# An ELF header of x86-64 (elf(5)): the kernel looks no further.
FOREIGN = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack(
    "<HHIQQQIHHHHHH", 2, 62, 1, 0x400078, 64, 0, 0, 64, 56, 1, 0, 0, 0
)  # fmt: skip

# The four bytes of a disk's id in its MBR, as one number.
MBR_ID = "dd if=/dev/vda bs=1 skip=440 count=4 2>/dev/null | hexdump -v -e '1/4 \"%08x\"'"


@pytest.fixture(scope="module")
def pi(piimage_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pi]:
    folder = tmp_path_factory.mktemp("greenhouse")
    greenhouse = Greenhouse.laid_out(folder / "files", piimage_store)
    greenhouse.say("HELLO, first version")
    card, key = card_and_key(greenhouse, folder)
    with booted(greenhouse, card, key) as found:
        _until_up(found)
        yield found


def _until_up(pi: Pi) -> None:
    end = time.monotonic() + 300
    while any(row.health not in ("healthy", "running") for row in ps(pi).values()):
        assert time.monotonic() < end, ps(pi)
        time.sleep(1)


def ps(pi: Pi) -> dict[str, answers.Service]:
    with pi.link() as link:
        return {row.name: row for row in answers.services(link.ask("ps"))}


def running(pi: Pi) -> str:
    with pi.link() as link:
        return answers.slot(link.ask("slot")).running


def wait_for_last_line(pi: Pi, line: str) -> None:
    """Wait for the last line of hello_world: it runs before it has printed one."""
    end = time.monotonic() + 120
    while line not in (printed := pi.sh("tail -n 1 /var/log/services/hello_world/log")):
        assert time.monotonic() < end, printed
        time.sleep(1)


def refused(pi: Pi, release: Release, code: str, within: float) -> PiimageError:
    """Deploy what must not stay; the error, once the old version is up again.

    The old version may not have been away for more than `within` seconds.
    """
    before = running(pi)
    with watched(pi.web_port) as outage, pytest.raises(PiimageError) as caught:
        pi.target(release).deploy(lambda line: None)
    sys.stdout.write(f"{code}: web away for {outage.seconds:.2f} s\n")
    assert caught.value.code == code, caught.value
    assert running(pi) == before
    after = ps(pi).values()
    assert all(row.health in ("healthy", "running") for row in after), (caught.value, after)
    assert "one" in pi.sh("wget -q -O - http://127.0.0.1:8080/")
    assert outage.seconds <= within
    return caught.value


@pytest.fixture(scope="module")
def one_restart(pi: Pi) -> float:
    """Seconds that `web` is away while it is restarted, and nothing else happens."""
    with watched(pi.web_port) as outage, pi.link() as link:
        link.ask("restart", service="web", timeout=300)
    sys.stdout.write(f"restart: web away for {outage.seconds:.2f} s\n")
    return outage.seconds


def test_a_line_that_changed_runs_and_nothing_else_restarts(
    pi: Pi, capsys: pytest.CaptureFixture[str]
) -> None:
    before = ps(pi)
    outcome = pi.target(pi.greenhouse.saying("HELLO, second version")).deploy(lambda line: None)
    after = ps(pi)
    assert outcome.changed == ("hello_world",)
    assert {n for n in before if before[n].pid != after[n].pid} == {"hello_world"}
    wait_for_last_line(pi, "HELLO, second version")
    assert outcome.sent + outcome.received < 20_000
    with pi.link() as link:
        began = time.monotonic()
        link.ask("restart", service="hello_world", timeout=300)
        alone = time.monotonic() - began
    with capsys.disabled():
        sys.stdout.write(
            f"\ndeploy: {outcome.sent} bytes sent, {outcome.received} received, "
            f"{outcome.seconds:.1f} s (switch {outcome.switched:.1f} s); restart {alone:.1f} s\n"
        )


def test_the_same_again_is_nothing_to_do(pi: Pi) -> None:
    target = pi.target(pi.greenhouse.release())
    assert target.plan().nothing
    assert target.deploy(lambda line: None).changed == ()


def test_the_command_deploys_one_service_alone(pi: Pi) -> None:
    assert pi.ssh.config is not None
    before = ps(pi)
    words = [PIIMAGE, "deploy", pi.greenhouse.file, "--to", "greenhouse"]
    words += ["--ssh-config", str(pi.ssh.config), "--service", "hello_world"]
    store = {"PIIMAGE_STORE": str(pi.greenhouse.sources.store.root)}
    with pi.greenhouse.changed("web/service.yml", '"one\\n"', '"two\\n"'):
        pi.greenhouse.say("HELLO, third version")
        for more in (["--dry-run"], []):
            done = subprocess.run(
                [*words, *more], capture_output=True, text=True, timeout=600, check=False,
                env={**os.environ, **store},
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            printed = "restarts hello_world" if more else "greenhouse: hello_world; "
            assert printed in done.stderr
    after = ps(pi)
    assert {n for n in before if before[n].pid != after[n].pid} == {"hello_world"}
    wait_for_last_line(pi, "HELLO, third version")


def test_a_crash_is_seen_beside_what_runs_and_says_what_it_printed(
    pi: Pi, one_restart: float
) -> None:
    change = ("web/service.yml", "httpd, -f", 'sh, -c, "echo no such sensor; exit 7", x, -f')
    pids = {name: row.pid for name, row in ps(pi).items()}
    with pi.greenhouse.changed(*change) as release:
        error = refused(pi, release, "deploy.rehearsal", one_restart)
    assert "no service was stopped" in error.message
    assert "web: it exited with code 7\n  no such sensor" in error.message
    assert {name: row.pid for name, row in ps(pi).items()} == pids


def test_what_never_gets_healthy_is_seen_beside_what_runs(pi: Pi, one_restart: float) -> None:
    with pi.greenhouse.changed("web/service.yml", '"8080", -h', '"8081", -h') as release:
        error = refused(pi, release, "deploy.rehearsal", one_restart)
    assert "web: its health check failed" in error.message, error


def test_a_program_of_another_architecture_is_seen_beside_what_runs(
    pi: Pi, one_restart: float
) -> None:
    (pi.greenhouse.folder / "web" / "foreign").write_bytes(FOREIGN)
    change = (
        "- { path: www/index",
        "- { path: usr/bin/foreign, source: foreign, mode: '0755' }\n  - { path: www/index",
    )
    with pi.greenhouse.changed("web/service.yml", *change):
        entry = ("[/usr/bin/busybox, httpd", "[/usr/bin/foreign, httpd")
        with pi.greenhouse.changed("web/service.yml", *entry) as release:
            error = refused(pi, release, "deploy.rehearsal", one_restart)
    assert "exec format error" in error.message.lower(), error


def test_a_crash_that_only_the_real_network_shows_is_undone(pi: Pi, one_restart: float) -> None:
    script = "[ ! -e /sys/class/net/eth0 ] || exit 7; exec busybox httpd -f -p 8080 -h /www"
    change = ('httpd, -f, -p, "8080", -h, /www', f'sh, -c, "{script}"')
    with pi.greenhouse.changed("web/service.yml", *change) as release:
        error = refused(pi, release, "deploy.rolled-back", 3 * one_restart + 5)
    assert "web: it exited with code 7" in error.message, error


def cut_connection(pi: Pi) -> None:
    """End the ssh that a deploy talks through, without a word."""
    assert pi.ssh.config is not None
    subprocess.run(["pkill", "-KILL", "-f", f"{pi.ssh.config} .*agent serve"], check=True)


def test_a_connection_that_is_lost_is_taken_up_again(pi: Pi) -> None:
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        if line.startswith("switched"):
            cut_connection(pi)

    release = pi.greenhouse.saying("HELLO, over two connections")
    assert pi.target(release).deploy(tell).changed == ("hello_world",)
    assert "the connection was lost; reconnecting" in told
    assert running(pi) == release.containers


def test_a_tool_that_is_gone_for_good_leaves_what_ran_before(pi: Pi) -> None:
    before = running(pi)
    gone = threading.Event()

    def tell(line: str) -> None:
        if line.startswith("switched"):
            gone.set()
            cut_connection(pi)

    with pytest.raises(PiimageError, match="interrupted"):
        pi.target(pi.greenhouse.saying("HELLO, unconfirmed"), gone).deploy(tell)
    end = time.monotonic() + 300
    while running(pi) != before:
        assert time.monotonic() < end
        time.sleep(2)
    wait_for_last_line(pi, "HELLO, over two connections")


def test_what_was_undone_leaves_the_way_back(pi: Pi) -> None:
    """After good and undone deploys, `rollback` leads to what ran before the last good one."""
    was = running(pi)
    pi.target(pi.greenhouse.saying("HELLO, good again")).deploy(lambda line: None)
    good = running(pi)
    change = ("web/service.yml", "httpd, -f", "'false', -f")
    with pi.greenhouse.changed(*change) as release:
        refused(pi, release, "deploy.rehearsal", 60)
    for expected in (was, good):
        assert "changed: hello_world" in command(pi, "rollback")
        assert running(pi) == expected


def test_containers_for_another_architecture_are_refused(
    pi: Pi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("piimage.deploy.pi.MACHINE", "x86_64")
    with pytest.raises(PiimageError, match="containers of x86_64 do not run on aarch64"):
        pi.target(pi.greenhouse.release()).plan()


def test_a_layer_that_was_cut_short_is_refused_and_nothing_was_stopped(pi: Pi) -> None:
    release = pi.greenhouse.saying("HELLO, cut version")
    store = pi.greenhouse.sources.store
    before = ps(pi)
    blob = release.layers[release.containers]
    with pi.link() as link:
        link.ask("put", layer=blob.sha256, size=blob.size)
        link.say("data", _bytes(store, release)[:-100] + b"x" * 100, last=True)
        with pytest.raises(PiimageError, match="another digest"):
            link.answer()
        link.ask("put", layer=blob.sha256, size=blob.size)
        link.say("data", _bytes(store, release)[:-100], last=True)
        with pytest.raises(PiimageError, match="ended after"):
            link.answer()
        slot = answers.slot(link.ask("slot"))
        with pytest.raises(PiimageError, match="missing"):
            link.ask(
                "switch", containers=blob.sha256, layers=list(release.needed()),
                base=slot.containers, arch="aarch64", note="cut",
            )  # fmt: skip
    assert {n: row.pid for n, row in ps(pi).items()} == {n: row.pid for n, row in before.items()}
    # What came is taken up: the rest of it makes it whole.
    assert pi.target(release).deploy(lambda line: None).changed == ("hello_world",)


def _bytes(store: Store, release: Release) -> bytes:
    return store.verified(release.layers[release.containers]).read_bytes()


def command(pi: Pi, *words: str, host: str = "greenhouse") -> str:
    assert pi.ssh.config is not None
    done = subprocess.run(
        [PIIMAGE, words[0], host, *words[1:], "--ssh-config", str(pi.ssh.config)],
        capture_output=True, text=True, timeout=300, check=False, env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_ps_and_status_tell_how_it_is(pi: Pi) -> None:
    rows = [line.split() for line in command(pi, "ps").splitlines()[1:]]
    assert [row[:3] for row in rows] == [
        ["hello_world", "running", "running"], ["sshd", "running", "running"],
        ["web", "running", "healthy"],
    ]  # fmt: skip
    found = json.loads(command(pi, "status", "--json"))["hosts"]["greenhouse"]
    assert found["board"] == "qemu-virt"
    assert found["generation"]["good"] is True
    assert 0 < found["memory"]["available"] < found["memory"]["total"]
    assert found["data"]["free"] > 1 << 28
    assert "greenhouse.yml" in command(pi, "status")


CHECKS = """test:
  checks:
    - { http: 'http://127.0.0.1:8080/', expect: one }
    - { name: inside, service: hello_world, run: [sh, -c, 'echo $0', in it], expect: in it }
    - { name: outside, run: "cat /etc/hostname", matches: ^greenhouse$ }
    - { name: the log, console: HELLO }
    - { name: wrong, run: exit 4, timeout: 1s }
"""


def test_the_checks_of_the_file_run_on_a_pi_that_is_up(pi: Pi, tmp_path: Path) -> None:
    assert pi.ssh.config is not None
    (tmp_path / "checks.yml").write_text(CHECKS)
    words = [PIIMAGE, "test", pi.greenhouse.file, tmp_path / "checks.yml", "--to", "greenhouse"]
    done = subprocess.run(
        [*words, "--ssh-config", pi.ssh.config, "--junit", tmp_path / "out.xml"],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done
    cases = ET.parse(tmp_path / "out.xml").getroot()
    failed = {case.get("name"): case[0].get("message") for case in cases if len(case)}
    assert failed == {"wrong": "the exit code is 4, not 0; the output:"}
    assert [case.get("name") for case in cases][:5] == [
        "the system boots", "service hello_world is up", "service sshd is up", "service web is up",
        "log in over SSH",
    ]  # fmt: skip


def test_doctor_reports_what_qemu_models(pi: Pi, capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    found = json.loads(command(pi, "doctor", "--json", host="--pi=greenhouse"))
    seconds = time.monotonic() - began
    found = found["hosts"]["greenhouse"]
    verdicts = {finding["name"]: finding["verdict"] for finding in found["findings"]}
    with capsys.disabled():
        sys.stdout.write(f"\ndoctor --pi: {len(verdicts)} findings in {seconds:.1f} s\n")
    facts = found["facts"]
    assert facts["board"]["model"] == "linux,dummy-virt"
    assert [(disk["name"], disk["bytes"]) for disk in facts["disks"]] == [("vda", 2 << 30)]
    assert facts["disks"][0]["drivers"][:2] == ["virtio_blk", "virtio-pci"]
    assert facts["boot"]["disk_id"] == "0x" + pi.sh(MBR_ID).strip()
    assert facts["i2c"] == []
    assert ("9030000.pl061", 8) in [(chip["label"], chip["lines"]) for chip in facts["gpio"]]
    (watchdog,) = facts["watchdogs"]
    assert (watchdog["identity"], watchdog["state"]) == ("i6300ESB timer", "active")
    assert 0.8 * (1 << 30) < facts["memory"]["total"] < 1 << 30
    assert [link["mac"] for link in facts["links"]] == ["b8:27:eb:xx:xx:xx"]
    assert verdicts["service web"] == verdicts["service sshd"] == "good"
    assert verdicts["I2C"] == verdicts["USB"] == verdicts["EEPROM"] == "not there"
    assert "broken" not in verdicts.values()
    assert "linux,dummy-virt" in command(pi, "doctor", host="--pi=greenhouse")


def test_logs_are_its_own_and_from_a_moment_on(pi: Pi) -> None:
    assert "HELLO, cut version" in command(pi, "logs", "hello_world", "-n", "1")
    pi.sh("sleep 11; initctl restart hello_world; sleep 2")
    recent = command(pi, "logs", "hello_world", "--since", "1s")
    everything = command(pi, "logs", "hello_world")
    assert len(recent.splitlines()) < len(everything.splitlines())


def test_exec_runs_inside_the_container(pi: Pi) -> None:
    assert pi.ssh.config is not None
    words = ["exec", "--ssh-config", str(pi.ssh.config), "greenhouse", "hello_world"]
    inside = [*words, "sh", "-c", "echo $0 'a b'; exit 3", "x y"]
    done = subprocess.run(
        [PIIMAGE, *inside], capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.stdout, done.returncode) == ("x y a b\n", 3), done.stderr


def test_data_are_backed_up_and_come_back(pi: Pi, tmp_path: Path) -> None:
    pi.sh("mkdir -p /data/notes/a; echo precious >/data/notes/a/b; chown -R 970:970 /data/notes")
    archive = tmp_path / "data.tar"
    command(pi, "backup", str(archive))
    with tarfile.open(archive) as file:
        members = {member.name: (member.uid, member.size) for member in file}
    assert members["notes/a/b"] == (970, len("precious\n"))
    assert {name.partition("/")[0] for name in members} == {"notes"}
    pi.sh("echo spoilt >/data/notes/a/b; echo later >/data/notes/later")
    assert "restored notes" in command(pi, "restore", str(archive), "--yes")
    assert pi.sh("cd /data/notes; find . | sort; cat a/b").split() == [
        ".", "./a", "./a/b", "precious",
    ]  # fmt: skip


def test_restart_waits_and_rollback_leads_to_what_ran_before(pi: Pi) -> None:
    before = ps(pi)["web"].pid
    assert re.search(r"greenhouse +web +running +healthy", command(pi, "restart", "web"))
    assert ps(pi)["web"].pid != before
    was = running(pi)
    assert "changed: hello_world" in command(pi, "rollback")
    assert running(pi) != was
    assert "DATA LOST" not in "\n".join(line.text for line in pi.session.lines())
