"""A whole system updated over SSH on an emulated Pi: written, tried, kept, undone, rolled back."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from piimage.build import plan
from piimage.card.partitions import SECTOR, decode
from piimage.deploy import system
from piimage.deploy.link import linked
from piimage.deploy.pi import PiTarget, Wish
from piimage.deploy.release import release_of
from piimage.deploy.target import Outcome
from piimage.errors import PiimageError
from piimage.locking.fetching import make
from piimage.run import Runner
from piimage.signing import Signer
from tests.system.deploy.greenhouse import PATIENCE, Greenhouse, Pi, booted, card_and_key
from tests.unit.signing_keys import pair

KEPT = (
    "boot: { cmdline: [shed.version=2], config: { dtparam: audio=on } }\n"
    "files: [ { path: etc/of-the-base, contents: new } ]\n"
)
UPDATES = (
    "slots: { updates: true, verify: boot }\nsigning: { key: ours.key, certificates: [ours.pem] }\n"
)
# A hook that refuses unless the host name is the file's own.
HOOK = """
    before_update:
      command:
        - /usr/bin/sh
        - -c
        - 'read -r N </proc/sys/kernel/hostname; echo "busy on $N"; [ "$N" = greenhouse ]'
"""


@dataclass
class Site:
    """A Pi whose file can be changed and deployed, system and all."""

    pi: Pi
    greenhouse: Greenhouse
    _told: list[str] = field(default_factory=list)

    def wish(self, extra: str, line: str) -> Wish:
        """The version with `extra` in its file, and another first line of hello_world."""
        file = self.greenhouse.file
        text = file.read_text().partition("# extra")[0].rstrip()
        file.write_text(f"{text}\n# extra\n{extra}")
        self.greenhouse.say(line)
        project, inputs = self.greenhouse.project(), self.greenhouse.sources
        version = plan(project, inputs)
        job = make(version.steps(), project.lock, inputs)
        release = release_of(version, job, "greenhouse.yml")
        return Wish(release, wait=60, system=system.system_of(version, job, release, inputs))

    def deploy(self, wish: Wish) -> Outcome:
        """Deploy `wish`; raise the emulator's error if the Pi does not start again."""
        inputs, cancelled = self.greenhouse.sources, threading.Event()
        target = PiTarget(self.pi.host, wish, self.pi.ssh, inputs.store, inputs.runner, cancelled)
        done = threading.Event()

        def notice_the_end() -> None:
            while not done.wait(1.0):
                if self.pi.session.console.ended:
                    cancelled.set()

        watcher = threading.Thread(target=notice_the_end)
        watcher.start()
        try:
            return target.deploy(self._told.append)
        except PiimageError as error:
            raise (self.pi.session.failure or error) from error
        finally:
            done.set()
            watcher.join()

    def state(self) -> system.State:
        with linked(self.pi.ssh, self.pi.host, threading.Event()) as link:
            return system.ask_state(link)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, piimage_store: Path) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("update")
    greenhouse = Greenhouse.laid_out(folder / "greenhouse", piimage_store)
    pair(greenhouse.folder, "ours")
    text = greenhouse.file.read_text().replace(
        "  - { name: hello_world, build: services/hello_world }\n",
        f"  - name: hello_world\n    build: services/hello_world{HOOK}",
    )
    assert HOOK in text
    greenhouse.file.write_text(text + UPDATES)
    card, key = card_and_key(greenhouse, folder)
    with booted(greenhouse, card, key) as pi:
        yield Site(pi, greenhouse)


def test_a_system_that_differs_is_updated_as_a_whole_and_kept(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    wish = site.wish(KEPT, "a system of its own")
    outcome = site.deploy(wish)
    with capsys.disabled():
        sys.stdout.write(f"\nupdate: {outcome.sent} bytes sent, {outcome.seconds:.1f} s\n")
    state = site.state()
    assert (state.booted, state.kept, state.update) == ("3", "3", "kept")
    assert "shed.version=2" in site.pi.sh("cat /proc/cmdline")
    assert site.pi.sh("cat /etc/of-the-base") == "new"
    site.pi.session.wait_for("a system of its own", PATIENCE)
    _require_the_bytes_of_a_build(site, wish)


def _require_the_bytes_of_a_build(site: Site, wish: Wish) -> None:
    """Compare the slot on the card with the file system that the recipe was made from."""
    assert wish.system is not None
    runner, store = site.greenhouse.sources.runner, site.greenhouse.sources.store
    volume, place = wish.system.slots.volumes[3], wish.system.slots.places[3]
    site.pi.sh("sync")
    with store.scratch() as scratch:
        image, card = scratch / "slot", scratch / "card"
        # -U: the machine still runs, but has synced.
        drive = site.pi.session.machine.drive.path
        runner.run(["qemu-img", "convert", "-U", "-f", "qcow2", "-O", "raw", drive, card])
        with image.open("wb") as file:
            file.truncate(place.end)
        used = volume.write(runner, image, place.start)
        with image.open("rb") as built, card.open("rb") as written:
            assert decode(written.read(SECTOR), card.stat().st_size, "card").partitions[3] == place
            for extent in used:
                for piece in extent.moved(place.start).pieces(1 << 20):
                    built.seek(piece.start)
                    written.seek(piece.start)
                    assert built.read(piece.size) == written.read(piece.size), piece


@pytest.mark.parametrize(
    ("line", "cause"), [("exit 7", "these services are not up after .*: hello_world")]
)
def test_a_version_whose_service_does_not_stay_up_is_undone(
    site: Site, line: str, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "_RESTART_S", 100.0)
    script = site.greenhouse.folder / "services/hello_world/hello.sh"
    text = script.read_text()
    first, _, rest = text.partition("\n")
    script.write_text(f"{first}\n{line}\n{rest}")
    wish = site.wish("boot: { cmdline: [shed.version=3] }\n", "never seen")
    script.write_text(text)
    with pytest.raises(PiimageError, match=cause) as caught:
        site.deploy(replace(wish, wait=1))
    assert caught.value.code == "deploy.undone"
    state = site.state()
    assert (state.booted, state.kept, state.update) == ("3", "3", "undone")
    assert "shed.version=2" in site.pi.sh("cat /proc/cmdline")


def test_a_kernel_that_panics_is_undone(site: Site) -> None:
    wish = site.wish("boot: { cmdline: [rdinit=/nothing, init=/nothing] }\n", "never seen")
    with pytest.raises(PiimageError, match="did not come as far as mounting /data") as caught:
        site.deploy(wish)
    assert caught.value.code == "deploy.undone"
    assert site.state().booted == "3"


def test_one_word_of_the_command_line_costs_little(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = site.deploy(site.wish(KEPT.replace("version=2", "version=4"), "a system of its own"))
    with capsys.disabled():
        sys.stdout.write(f"\none word: {outcome.sent} bytes sent, {outcome.seconds:.1f} s\n")
    assert outcome.sent < 30_000
    assert site.state().booted == "2"


def test_a_rollback_leads_to_the_other_slot(site: Site) -> None:
    with linked(site.pi.ssh, site.pi.host, threading.Event()) as link:
        assert system.roll_back(link, site.pi.ssh, threading.Event(), 60) == "3"
    assert site.state().update == "kept"
    assert "shed.version=2" in site.pi.sh("cat /proc/cmdline")


@dataclass(frozen=True)
class Stolen(Signer):
    """Shows the certificate that every card has, and signs with another key."""

    other: Signer

    def sign(self, data: bytes, runner: Runner) -> bytes:
        return self.other.sign(data, runner)


def test_what_is_not_signed_older_or_refused_by_a_service_is_not_tried(
    site: Site, tmp_path: Path
) -> None:
    wish = site.wish(KEPT.replace("version=2", "version=5"), "a system of its own")
    ours = wish.system
    assert ours is not None
    other = pair(tmp_path, "other").signer
    assert ours.signer is not None
    stolen = Stolen(other.key, ours.signer.certificate, other)
    older = replace(ours, order=(0, ours.order[1] - 1))
    refusals = {
        "the file has no signing": replace(ours, signer=None),
        "it does not trust": replace(ours, signer=other),
        "the key is not trusted": replace(ours, signer=stolen),
        "is older than one that the Pi has kept": older,
    }
    for message, version in refusals.items():
        with pytest.raises(PiimageError, match=message):
            site.deploy(replace(wish, system=version))
    before = site.state()
    assert (before.booted, before.update) == ("3", "kept")
    assert before.hooks == ("hello_world",)
    site.pi.sh("hostname harvest")
    with pytest.raises(PiimageError, match="hello_world refuses the update: busy on harvest"):
        site.deploy(wish)
    site.pi.sh("hostname greenhouse")
    assert (site.state().booted, site.state().update) == ("3", "written")


def test_a_slot_that_rots_is_named_and_left_for_the_other_one(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    """The version that the test before has written is in the other slot."""
    session = site.pi.session
    with capsys.disabled():
        whole = [line.text for line in session.lines() if "are whole" in line.text]
        sys.stdout.write("\n".join(["", *whole, ""]))
    digest = site.pi.sh("head -n 1 /containers/services/hello_world/layers").strip()
    _damage(site, digest)
    number = len(session.restarts)
    with suppress(PiimageError):  # the connection may end before the answer
        site.pi.sh("initctl reboot || :")
    while len(session.restarts) < number + 2:
        session.wait_restart(PATIENCE)
    site.pi.shell.wait(PATIENCE)
    path = f"/run/piimage/slot/layers/{digest}.squashfs"
    named = [line.text for line in session.lines() if "DAMAGED" in line.text]
    assert named == [f"piimage: DAMAGED: {path} has not the digest in its name"]
    state = site.state()
    assert (state.booted, state.kept, state.tried) == ("2", "3", True)
    assert "shed.version=5" in site.pi.sh("cat /proc/cmdline")


def _damage(site: Site, digest: str) -> None:
    """Change a sector of a layer in slot B on the card, where the recipe says that it is."""
    kept = site.wish(KEPT, "a system of its own").system
    assert kept is not None
    line, _, _ = kept.recipe(3).data.partition(b"\n")
    ((at, size),) = [(at, size) for at, size, of, _ in json.loads(line)["files"] if of == digest]
    sector = (at + size // 2) // SECTOR
    disk = f"dd if=/dev/urandom of=/dev/vda3 bs={SECTOR} seek={sector} count=1 conv=notrunc; sync"
    site.pi.sh(disk)
