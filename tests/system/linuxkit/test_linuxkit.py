"""A file for LinuxKit, its images in a registry: locked, pulled, built, booted."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from piimage.config.load import load
from piimage.emulator.ports import free_port
from piimage.lock import read_lock
from piimage.locking.images import references_of
from tests.system.linuxkit.conftest import MULTI, Published, Workshop
from tests.system.linuxkit.images import GETTY

MINIMAL, SSHD = "linuxkit-minimal", "linuxkit-sshd"
BOOT = 300
"""Seconds for a boot on a busy machine without virtualisation."""


@pytest.fixture(scope="session")
def minimal(workshop: Workshop) -> Path:
    """The image of the minimal example, locked and built the way a user does it."""
    workshop.does("lock", workshop.file(MINIMAL), *workshop.insecure())
    workshop.does("build", workshop.file(MINIMAL), "-o", "out", *workshop.insecure())
    return workshop.folder / "out" / f"{MINIMAL}.img"


def named(workshop: Workshop, name: str) -> tuple[str, ...]:
    return references_of(load([workshop.file(name)], [], workshop.environment))


def test_the_lock_names_the_digest_of_every_image(
    workshop: Workshop, published: Published, minimal: Path
) -> None:
    lock = read_lock(workshop.folder / f"{MINIMAL}.lock")
    expected = {reference: published.digests[reference] for reference in named(workshop, MINIMAL)}
    assert {image.reference: image.digest for image in lock.images} == expected
    assert len(expected) == 6
    multi = lock.image(published.reference(MULTI))
    assert multi.manifest != multi.digest


def test_images_are_pulled_by_digest_from_that_registry(
    workshop: Workshop, published: Published, minimal: Path
) -> None:
    lock = read_lock(workshop.folder / f"{MINIMAL}.lock")
    requests = published.server.requests()
    for pin in lock.images:
        name = pin.reference.removeprefix(f"{workshop.address}/").partition(":")[0]
        manifests = [path for path in requests if path == f"/v2/{name}/manifests/{pin.manifest}"]
        blobs = [path for path in requests if path.startswith(f"/v2/{name}/blobs/sha256:")]
        assert manifests, name
        assert len(blobs) >= 2, name  # the configuration and a layer at least


def test_it_boots_and_runs_its_containers(workshop: Workshop, minimal: Path) -> None:
    # What the entry's `env:` says has reached the program.
    line = f"{GETTY} is here for piimage, insecure: true"
    shown = workshop.does("run", minimal, "--until", line, "--timeout", BOOT)
    # QEMU's own network gives this address.
    assert "leased 10.0.2.15" in shown, shown
    assert shown.index("piimage: onboot 000-dhcpcd: done") < shown.index(line)


def test_a_second_build_needs_no_registry(workshop: Workshop, minimal: Path) -> None:
    before = minimal.read_bytes()
    workshop.does("build", workshop.file(MINIMAL), "-o", "again", "--offline")
    assert (workshop.folder / "again" / minimal.name).read_bytes() == before


def test_a_tag_that_moved_changes_nothing_until_its_pin_is_moved(
    workshop: Workshop, published: Published, minimal: Path
) -> None:
    before = minimal.read_bytes()
    lock = workshop.folder / f"{MINIMAL}.lock"
    pinned = lock.read_text()
    reference = published.reference(MULTI)
    file = workshop.file(MINIMAL)
    try:
        moved = published.push(MULTI, published.publisher.moved_getty().descriptor)
        workshop.does("build", file, "-o", "moved", *workshop.insecure())
        assert (workshop.folder / "moved" / minimal.name).read_bytes() == before
        workshop.does("lock", file, *workshop.insecure())
        assert lock.read_text() == pinned

        output = workshop.call("lock", file, "--update", reference, *workshop.insecure())
        assert output.returncode == 0, output.stderr
        assert reference in output.stderr + output.stdout
        assert read_lock(lock).image(reference).digest == moved
        changed = set(lock.read_text().splitlines()) ^ set(pinned.splitlines())
        assert all(moved[7:] in line or "sha256" in line for line in changed), changed
        workshop.does("build", file, "-o", "moved", *workshop.insecure())
        assert (workshop.folder / "moved" / minimal.name).read_bytes() != before
    finally:
        lock.write_text(pinned)


GETTY_ASKS = [
    "binds: /dev:/dev", "capabilities: all", 'devices: {"path": "all", "type": "c"}', "pid: host",
]  # fmt: skip


def without_trust(workshop: Workshop, name: str) -> Path:
    """The minimal example as somebody writes it who trusts nobody."""
    text, _, _ = workshop.file(MINIMAL).read_text().partition("trust:")
    target = workshop.folder / f"{name}.yml"
    target.write_text(text)
    return target


def test_a_label_is_not_obeyed_because_an_entry_names_its_image(
    workshop: Workshop, published: Published
) -> None:
    file = without_trust(workshop, "unasked")
    output = workshop.call("lock", file, *workshop.insecure())
    assert output.returncode == 2
    assert not file.with_suffix(".lock").exists()
    place = f"services.getty: the label of {published.reference(MULTI)} asks for more"
    assert place in output.stderr
    for text in GETTY_ASKS:
        assert f"\n    {text}" in output.stderr, text
    # Each entry is refused with its own line, which grants all that it asks for.
    for line in re.findall(r"write in this entry: (trust: .*)", output.stderr):
        name = "getty" if "pid: host" in line else "dhcpcd"
        text = file.read_text().replace(f"- name: {name}\n", f"- name: {name}\n    {line}\n")
        file.write_text(text)
    workshop.does("lock", file, *workshop.insecure())
    assert list(read_lock(file.with_suffix(".lock")).image(published.reference(MULTI)).granted) == (
        GETTY_ASKS
    )
    # Taken back, it is refused without a registry as well.
    without_trust(workshop, "unasked")
    for words in (("build", file, "-o", "unasked", "--offline"), ("check", file)):
        refused = workshop.call(*words)
        assert refused.returncode == 2, words
        assert "pid: host" in refused.stderr, words


def test_an_update_that_asks_for_more_needs_the_file_s_word(
    workshop: Workshop, published: Published, minimal: Path
) -> None:
    lock = workshop.folder / f"{MINIMAL}.lock"
    pinned = lock.read_text()
    reference = published.reference(MULTI)
    file = workshop.file(MINIMAL)
    written = file.read_text()
    update = ("lock", file, "--update", reference, *workshop.insecure())
    try:
        published.push(MULTI, published.publisher.demanding_getty().descriptor)
        output = workshop.call(*update)
        assert output.returncode == 2
        assert "granted before:\n    seccomp: unconfined" in output.stderr
        assert lock.read_text() == pinned
        (line,) = re.findall(r"write in this entry: (trust: .*)", output.stderr)
        file.write_text(written.replace("- name: getty\n", f"- name: getty\n    {line}\n"))
        workshop.does(*update)
        assert "seccomp: unconfined" in read_lock(lock).image(reference).granted
    finally:
        lock.write_text(pinned)
        file.write_text(written)


@dataclass(frozen=True)
class Machine:
    """A `piimage run` under way, and the file that takes what it prints."""

    process: subprocess.Popen[bytes]
    console: Path

    def shown(self) -> str:
        return self.console.read_text(errors="replace")[-6000:]


@contextmanager
def running(workshop: Workshop, image: Path, port: int) -> Iterator[Machine]:
    """Run `image` until the block ends, then as Ctrl-C ends it; give what the console shows."""
    console = workshop.folder / "console"
    process = workshop.start(console, "run", image, "--ssh-port", port)
    try:
        yield Machine(process, console)
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=60)
        finally:
            process.kill()


def over_ssh(workshop: Workshop, port: int, machine: Machine, script: str) -> str:
    """Run `script` there as soon as it can be reached."""
    key = Path(workshop.environment["HOME"]) / ".ssh/id_ed25519"
    options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null",
               "ConnectTimeout=30", "LogLevel=ERROR"]  # fmt: skip
    words = ["ssh", "-p", str(port), "-i", str(key), *(f"-o{option}" for option in options)]
    deadline = time.monotonic() + BOOT
    while True:
        done = subprocess.run(
            [*words, "root@127.0.0.1", script],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        if done.returncode != 255 or time.monotonic() > deadline:
            assert done.returncode == 0, done.stderr + machine.shown()
            return done.stdout
        assert machine.process.poll() is None, machine.shown()
        time.sleep(2)


def test_the_machine_of_the_sshd_example_takes_the_key(workshop: Workshop) -> None:
    file = workshop.file(SSHD)
    workshop.does("build", file, "-o", "out", *workshop.insecure())
    port = free_port()
    with running(workshop, workshop.folder / "out" / f"{SSHD}.img", port) as machine:
        output = over_ssh(
            workshop, port, machine,
            "cat /proc/sys/net/ipv4/ip_forward; ulimit -n; echo kept >/shared/x && cat /shared/x; "
            "grep -c . /root/.ssh/authorized_keys; cat /proc/1/comm; "
            "test -x /tools/usr/bin/busybox && ! touch /tools/x 2>/dev/null && echo read-only; "
            "cd /seed/usr/bin && echo more >more && test -x busybox && cat more",
        )  # fmt: skip
    forward, files, kept, keys, first, tools, seed = output.split()
    assert (tools, seed) == ("read-only", "more")
    assert (forward, files, kept, keys) == ("1", "1024", "kept", "1")
    assert first == "finit"  # label: pid: host
