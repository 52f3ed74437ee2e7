"""A whole system updated over SSH on an emulated Pi: written, tried, kept, undone, rolled back."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
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
from piimage.plan.slot import Slots
from tests.system.deploy.greenhouse import PATIENCE, Greenhouse, Pi, booted, card_and_key

KEPT = (
    "boot: { cmdline: [shed.version=2], config: { dtparam: audio=on } }\n"
    "files: [ { path: etc/of-the-base, contents: new } ]\n"
)
UPDATES = "slots: { updates: true }\n"


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
    greenhouse.file.write_text(greenhouse.file.read_text() + UPDATES)
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


def test_an_initramfs_without_its_layer_is_undone_and_names_it(site: Site) -> None:
    wish = site.wish("boot: { cmdline: [shed.version=5] }\n", "never seen")
    assert wish.system is not None
    layer = next(iter(wish.release.system))
    broken = replace(wish.system, lay_out=lambda: without(wish.system, layer), _recipes={})
    cause = f"could not start: system layer {layer} is missing or broken"
    with pytest.raises(PiimageError, match=cause) as caught:
        site.deploy(replace(wish, system=broken))
    assert caught.value.code == "deploy.undone"
    assert site.state().booted == "3"


def without(whole: system.System | None, layer: str) -> Slots:
    """Return the slots of a version without one of its layers."""
    assert whole is not None
    path = f"layers/{layer}.squashfs"
    volumes = {}
    for number, volume in whole.slots.volumes.items():
        assert path in volume.files
        files = {name: content for name, content in volume.files.items() if name != path}
        volumes[number] = replace(volume, files=files)
    return replace(whole.slots, volumes=volumes)


HANGS = """
files:
  - { path: usr/sbin/finit, contents: "#!/bin/sh\nwhile :; do sleep 1000; done\n", mode: "0755" }
"""


def test_a_process_1_that_hangs_is_ended_by_the_watchdog_and_undone(site: Site) -> None:
    wish = site.wish(HANGS, "never seen")
    with pytest.raises(PiimageError, match="before process 1 had started") as caught:
        site.deploy(wish)
    assert caught.value.code == "deploy.undone"
    assert [site.pi.session.restarts[-1].cause, site.state().booted] == ["watchdog", "3"]


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
