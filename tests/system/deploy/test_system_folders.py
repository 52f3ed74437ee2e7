"""A Pi 3 whose slots are folders tries the other one by tryboot.txt, and keeps it by one sector.

Both folders have a version from the beginning; system_folders.py sends and writes one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from piimage.firmware.manifest import board_of
from piimage.testing.shell import card_with_key
from tests.system.boot.slots import with_both_folders
from tests.system.deploy.greenhouse import PATIENCE, Greenhouse, booted
from tests.system.deploy.system_site import UPDATES, Site

FACTS = ". /run/piimage/boot; echo $PIIMAGE_SLOT_PREFIX $PIIMAGE_TRYBOOT"
TRY_BOOT = "(sleep 1; /usr/lib/piimage/try-boot) </dev/null >/dev/null 2>&1 &"
# What the agent does at the end of a trial, to a partition that is mounted.
KEEP = """
import sys
sys.path.insert(0, "/usr/lib/piimage/agent")
from piimage_agent import places
from piimage_agent.root import Root
places.chooser(Root("/")).set("b/", "a/")
"""


@pytest.fixture
def site(tmp_path: Path, piimage_store: Path) -> Iterator[Site]:
    greenhouse = Greenhouse.laid_out(tmp_path / "greenhouse", piimage_store)
    text = greenhouse.file.read_text().replace("board: qemu-virt", "board: pi3")
    greenhouse.file.write_text(text + UPDATES)
    runner = greenhouse.sources.runner
    image = with_both_folders(greenhouse.project(), greenhouse.sources, tmp_path / "both.img")
    card, key = card_with_key(runner, image, board_of(image), tmp_path)
    with booted(greenhouse, card, key) as pi:
        yield Site(pi, greenhouse, card, key)


def test_a_pi_3_tries_the_other_folder_once_and_keeps_it_by_one_sector(
    site: Site,
) -> None:
    pi, session = site.pi, site.pi.session
    before = site.state()
    assert (before.booted, before.other, before.kept) == ("a/", "b/", "a/")
    assert before.can_try
    assert set(before.firmware) == {"bootcode.bin", "fixup.dat", "start.elf"}
    pi.sh(TRY_BOOT)
    tried = session.wait_restart(PATIENCE)
    assert (tried.cause, tried.tryboot) == ("restart", True)
    session.wait_for("piimage: service sshd: running", PATIENCE)
    pi.shell.wait(PATIENCE)
    assert pi.sh(FACTS).split() == ["b/", "1"]
    assert site.state().kept == "a/"
    done = pi.shell.run(["/usr/bin/python3", "-I", "-S", "-c", KEEP], PATIENCE)
    assert done.status == 0, done
    state = site.state()
    assert (state.booted, state.kept, state.other) == ("b/", "b/", "a/")
    pi.sh("(sleep 1; initctl reboot) </dev/null >/dev/null 2>&1 &")
    kept = session.wait_restart(PATIENCE)
    assert (kept.cause, kept.tryboot) == ("restart", False)
    session.wait_for("piimage: service sshd: running", PATIENCE)
    pi.shell.wait(PATIENCE)
    assert pi.sh(FACTS).split()[0] == "b/"
