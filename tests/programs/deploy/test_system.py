"""Updates of the whole system: the tool, the agent, and a stand-in for boot loader and restart."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from piimage_agent import generations, trial
from piimage_agent import system as agent_system
from piimage_agent.journal import Journal
from piimage_agent.root import Root

from piimage.board import Lack
from piimage.boards import load_board
from piimage.cli.status import status as show_status
from piimage.deploy import system
from piimage.deploy.agent_remote import AgentRemote
from piimage.deploy.link import linked
from piimage.deploy.pi import PiTarget, Wish
from piimage.deploy.rollout import Policy, roll_out
from piimage.deploy.sending import send
from piimage.deploy.ssh import Ssh
from piimage.deploy.system import _cannot_try
from piimage.deploy.target import Outcome
from piimage.errors import PiimageError
from piimage.firmware.fat import FatReader
from piimage.run import Runner
from tests.programs.deploy.slots_stand import KERNEL, SlotsStand
from tests.unit.deploy.stand_in import fake_ssh, target


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlotsStand:
    monkeypatch.setattr(system, "_PAUSE_S", 0.2)
    monkeypatch.setattr(system, "_RESTART_S", 10.0)
    monkeypatch.setattr(system, "_MARGIN_S", 10.0)
    return SlotsStand(tmp_path)


@pytest.fixture
def tool(stand: SlotsStand) -> Runner:
    return fake_ssh(stand.folder / "bin", {"pi": stand.command})


def deployed(stand: SlotsStand, tool: Runner, wish: Wish | None = None) -> Outcome:
    return to(stand, tool, wish).deploy(lambda line: None)


def to(stand: SlotsStand, tool: Runner, wish: Wish | None = None) -> PiTarget:
    return target(tool, stand.store, "pi", wish or stand.wish())


def journal(stand: SlotsStand) -> dict[str, str]:
    lines = stand.pi.text("data/piimage/system/state").splitlines()
    return {key: value.strip("'") for key, _, value in (line.partition("=") for line in lines)}


def test_a_version_is_written_tried_confirmed_and_kept(stand: SlotsStand, tool: Runner) -> None:
    before = stand.slot(2)
    outcome = deployed(stand, tool)
    assert outcome.system
    assert outcome.sent < 20_000  # the kernel is on the Pi, and the new file packs well
    assert stand.autoboot == ("[all]\ntryboot_a_b=1\nboot_partition=3\n[tryboot]\nboot_partition=2")
    assert stand.slot(2) == before
    assert stand.slot(3)[510:512] == b"\x55\xaa"
    assert journal(stand)["STATE"] == "kept"
    assert stand.pi.text("data/piimage/system/trail").split() == [
        "armed", "process-1", "services", "confirmed",
    ]  # fmt: skip
    assert list((stand.pi.root / "data/piimage/system/files").iterdir()) == []


def test_a_dry_run_says_that_the_system_changes_and_writes_nothing(
    stand: SlotsStand, tool: Runner
) -> None:
    before = stand.pi.everything()
    plan = to(stand, tool).plan()
    assert plan.system
    assert plan.layers == 2  # the recipe and the new file
    assert stand.pi.everything() == before


@pytest.mark.provokes("deploy.undone")
@pytest.mark.parametrize(
    ("fate", "cause"),
    [
        ("panic", "did not come as far as mounting /data"),
        ("lost", "ended after its initramfs"),
        ("sick", "these services are not up after 12 s: one"),
        ("never", "these services are not up after 12 s: one"),
        ("failed", "could not start: system layer 1 is missing"),
        ("unreachable", "no tool reached the new version within 12 s"),
    ],
)
def test_a_version_that_fails_is_undone_and_the_cause_is_told(
    stand: SlotsStand, tool: Runner, fate: str, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand.pi.write("fate", fate)
    stand.pi.write("proc/uptime", "100.0 1.0\n")
    with pytest.raises(PiimageError, match=cause) as caught:
        deployed(stand, tool)
    assert caught.value.code == "deploy.undone"
    assert "[all]\ntryboot_a_b=1\nboot_partition=2\n" in stand.autoboot
    assert journal(stand)["STATE"] == "undone"


@pytest.mark.provokes("deploy.not-written")
def test_a_slot_that_cannot_be_written_is_told_and_nothing_restarts(
    stand: SlotsStand, tool: Runner
) -> None:
    (stand.pi.root / "slot/kernel.img").write_bytes(b"rotten")
    with pytest.raises(PiimageError, match="has not its own digest") as caught:
        deployed(stand, tool)
    assert caught.value.code == "deploy.not-written"
    assert journal(stand)["STATE"] == "undone"
    assert stand.slot(3)[:4096] == bytes(4096)
    assert stand.autoboot == "[all]\ntryboot_a_b=1\nboot_partition=2"


LAYER = random.Random(1).randbytes(5 * 10**6)


def cut_after(folder: Path, count: int) -> str:
    """Return a command that runs another one, to which it passes on `count` bytes and no more."""
    path = folder / "cut.py"
    path.write_text(
        "import os, subprocess, sys\n"
        "agent = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)\n"
        f"left = {count}\n"
        "while left and (data := os.read(0, min(left, 65536))):\n"
        "    agent.stdin.write(data)\n"
        "    agent.stdin.flush()\n"
        "    left -= len(data)\n"
        "agent.stdin.close()\n"
        "agent.wait()\n"
        "sys.exit(255)\n"
    )
    return f"{sys.executable} {path}"


def test_what_a_broken_connection_brought_is_not_sent_again(
    stand: SlotsStand, tmp_path: Path
) -> None:
    wish = stand.wish({"kernel.img": KERNEL, "layers/new.squashfs": LAYER})
    broken = fake_ssh(
        tmp_path / "broken", {"pi": f"{cut_after(tmp_path, 3_000_000)} {stand.agent}"}
    )
    with pytest.raises(PiimageError) as caught:
        deployed(stand, broken, wish)
    assert caught.value.code in ("deploy.lost", "deploy.no-connection")
    (part,) = (stand.pi.root / "data/piimage/system/files").glob("*.part")
    brought = part.stat().st_size
    assert 2_000_000 < brought < 3_000_000
    assert stand.slot(3)[510:512] == b"\x55\xaa"  # the other slot was not touched yet
    whole = fake_ssh(tmp_path / "whole", {"pi": stand.command})
    plan = to(stand, whole, wish).plan()
    rest = len(LAYER) - brought
    assert rest < plan.bytes < rest + 8000
    outcome = deployed(stand, whole, wish)
    assert rest < outcome.sent < rest + 20_000
    assert journal(stand)["STATE"] == "kept"
    data = stand.slot(3)
    assert FatReader(data, 0, len(data), "slot").read("layers/new.squashfs") == LAYER


def test_damaged_bytes_of_a_broken_connection_are_found_and_sent_again(
    stand: SlotsStand, tool: Runner
) -> None:
    wish = stand.wish({"kernel.img": KERNEL, "layers/new.squashfs": LAYER})
    digest = hashlib.sha256(LAYER).hexdigest()
    stand.pi.write(f"data/piimage/system/files/{digest}.part", "x" * 1_000_000)
    assert deployed(stand, tool, wish).sent > len(LAYER)
    assert journal(stand)["STATE"] == "kept"


def test_a_card_that_lies_leaves_no_slot_and_the_status_says_so(
    stand: SlotsStand,
    tool: Runner,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wish = stand.wish()
    assert wish.system is not None
    with linked(Ssh(tool, ask=False), to(stand, tool).host, threading.Event()) as link:
        ready = system.prepare(link, wish.system, system.Consent())
        for digest in ready.missing:
            send(link, "system-put", digest, ready.content(digest))
    pwrite = os.pwrite

    def lossy(fd: int, data: bytes, at: int) -> int:
        # A counterfeit card takes the bytes beyond its real size, and keeps none of them.
        return len(data) if at > 100_000 else pwrite(fd, data, at)

    root, proof = Root(str(stand.pi.root)), agent_system.Proof(b"", may_be_older=False)
    write = agent_system.prepare(root, ready.recipe.digest, "new.yml", "3", proof)
    monkeypatch.setattr(os, "pwrite", lossy)
    write(str(stand.folder)).run()
    monkeypatch.undo()
    assert stand.slot(3)[:4096] == bytes(4096)
    shown = status_page(tool, capsys, monkeypatch)
    assert "update: new.yml: undone: the card did not keep what was written to byte" in shown


def test_a_version_for_another_board_is_refused_before_anything_is_sent(
    stand: SlotsStand, tool: Runner
) -> None:
    listed = json.loads(stand.pi.text("slot/appliance.json"))
    stand.pi.write("slot/appliance.json", json.dumps({**listed, "board": "pi5"}))
    before = stand.pi.everything()
    with pytest.raises(PiimageError, match="for qemu-virt, but this is a pi5") as caught:
        deployed(stand, tool)
    assert caught.value.code == "deploy.wrong-board"
    assert stand.pi.everything() == before


def test_firmware_that_does_not_take_the_flag_leaves_all_as_it_was(
    stand: SlotsStand, tool: Runner
) -> None:
    stand.pi.write("refuses", "")
    with pytest.raises(PiimageError, match="does not take the flag"):
        deployed(stand, tool)
    assert journal(stand)["STATE"] == "written"
    (stand.pi.root / "refuses").unlink()
    assert deployed(stand, tool).sent < 2000  # nothing has to be sent or written again


@pytest.mark.provokes("deploy.needs-flash")
@pytest.mark.parametrize(
    ("path", "text", "reason"),
    [
        ("sys/class/block/mmcblk0p3/size", "9\n", "another place or size"),
        ("run/piimage/boot", None, "no second slot"),
    ],
)
def test_a_card_that_cannot_take_it_is_refused_before_anything_is_sent(
    stand: SlotsStand, tool: Runner, path: str, text: str | None, reason: str
) -> None:
    old = stand.pi.text(path)
    stand.pi.write(path, text or old.replace("PARTITION='2'", "PARTITION='1'"))
    with pytest.raises(PiimageError, match=reason) as caught:
        deployed(stand, tool)
    assert caught.value.code == "deploy.needs-flash"
    assert not (stand.pi.root / "data/piimage/system").exists()


def test_a_boot_loader_that_is_too_old_for_a_try_is_refused_before_anything_is_sent(
    stand: SlotsStand, tool: Runner
) -> None:
    wish = stand.wish()
    assert wish.system is not None
    of_pi4 = replace(wish, system=replace(wish.system, board=load_board("pi4")))
    path = stand.pi.root / "proc/device-tree/chosen/bootloader/build-timestamp"
    path.parent.mkdir(parents=True)
    path.write_bytes((1650000000).to_bytes(4, "big"))
    before = stand.pi.everything()
    with pytest.raises(PiimageError, match="EEPROM does not know") as caught:
        deployed(stand, tool, of_pi4)
    assert caught.value.code == "deploy.needs-flash"
    assert "rpi-eeprom-update" in caught.value.hint
    assert stand.pi.everything() == before
    path.write_bytes((1680000000).to_bytes(4, "big"))
    assert to(stand, tool, of_pi4).plan().system


def test_a_system_without_the_module_is_refused(stand: SlotsStand, tool: Runner) -> None:
    (stand.pi.root / "sys/module/tryboot/parameters/next").unlink()
    with pytest.raises(PiimageError, match="cannot try another"):
        deployed(stand, tool)


def test_a_board_that_can_try_no_other_system_says_what_to_do_instead(stand: SlotsStand) -> None:
    with linked(Ssh(fake_ssh(stand.folder / "bin", {"pi": stand.command}), ask=False),
                to(stand, Runner()).host, threading.Event()) as link:  # fmt: skip
        state = system.ask_state(link)
    assert state.can_try
    pi4 = load_board("pi4")
    assert "slots: {updates: true}" in _cannot_try(state, pi4)[1]
    lack = Lack(what="Nothing writes it.", sections=("slots.updates",), instead="a new disk")
    without = pi4.model_copy(update={"lacks": (lack,)})
    assert _cannot_try(state, without)[1] == "Nothing writes it. Instead: a new disk"


@pytest.mark.provokes("deploy.trial")
def test_during_a_trial_nothing_is_deployed(stand: SlotsStand, tool: Runner) -> None:
    stand.pi.write("data/piimage/system/state", "STATE='trying'\nTO='3'\nFROM='2'\n")
    with pytest.raises(PiimageError) as caught:
        deployed(stand, tool)
    assert caught.value.code == "deploy.trial"
    with stand.pi.agent() as talk:
        talk.greet()
        switch = {"containers": "0" * 64, "layers": [], "arch": "x", "note": "", "base": ""}
        assert talk.refusal("switch", **switch) == "trial"
        assert talk.refusal("rollback") == "trial"


def test_a_power_cut_after_the_deciding_sector_counts_as_kept(
    stand: SlotsStand, tool: Runner
) -> None:
    deployed(stand, tool)
    text = stand.pi.text("data/piimage/system/state")
    stand.pi.write("data/piimage/system/state", text.replace("'kept'", "'trying'"))
    facts = stand.pi.text("run/piimage/boot")
    stand.pi.write("run/piimage/boot", facts.replace("TRYBOOT='1'", "TRYBOOT='0'"))
    trial.run(Root(str(stand.pi.root)))
    assert journal(stand)["STATE"] == "kept"


def test_a_version_whose_data_can_no_longer_be_written_restarts_all_the_same(
    stand: SlotsStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand.pi.write("data/piimage/system/state", "STATE='armed'\nTO='3'\nFROM='2'\n")
    facts = stand.pi.text("run/piimage/boot").replace("PARTITION='2'", "PARTITION='3'")
    stand.pi.write("run/piimage/boot", facts.replace("TRYBOOT='0'", "TRYBOOT='1'"))

    def fail(now: Journal, root: Root) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Journal, "write", fail)
    with pytest.raises(OSError, match="Read-only"):
        trial.run(Root(str(stand.pi.root)))
    assert stand.pi.text("initctl") == "reboot\n"


def test_a_system_that_fails_on_the_canary_reaches_no_other(
    tmp_path: Path, stand: SlotsStand
) -> None:
    second = SlotsStand(tmp_path / "second")
    runner = fake_ssh(
        tmp_path / "both",
        {"pi": stand.command, "other": second.command},
    )
    stand.pi.write("fate", "panic")
    before = second.pi.everything()
    targets = [target(runner, stand.store, name, stand.wish()) for name in ("pi", "other")]
    results = roll_out(
        targets, lambda pi: pi.deploy(lambda line: None), Policy(canary=1), threading.Event()
    )
    assert results[0].error is not None
    assert results[0].error.code == "deploy.undone"
    assert results[1].skipped
    assert second.pi.everything() == before


def test_each_slot_finds_the_deploys_that_it_had(stand: SlotsStand, tool: Runner) -> None:
    """The links of the other slot, and the generations behind them, are not collected."""
    root = Root(str(stand.pi.root))
    old = generations.create(root, "1" * 64, [], "of slot A")
    link = Path(root.store) / f"current.{stand.pi.slot}"
    link.symlink_to(f"generations/{old}")
    deployed(stand, tool)
    facts = stand.pi.text("run/piimage/boot")
    stand.pi.write("run/piimage/boot", facts.replace(stand.pi.slot, "ab" * 32))
    assert generations.linked(root, "current") == ""
    (Path(root.store) / f"previous.{'cd' * 32}").symlink_to(f"generations/{old}")
    generations.collect(root)
    assert link.is_symlink()
    assert (Path(root.generations) / old).is_dir()
    assert not (Path(root.store) / f"previous.{'cd' * 32}").is_symlink()


def test_the_status_shows_why_a_version_was_undone(
    stand: SlotsStand,
    tool: Runner,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stand.pi.write("fate", "lost")
    with pytest.raises(PiimageError):
        deployed(stand, tool)
    shown = status_page(tool, capsys, monkeypatch)
    assert "slot: partition 2" in shown
    assert "update: new.yml: undone: the new version ended after its initramfs" in shown


def status_page(
    tool: Runner, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> str:
    """What `piimage status` shows, without the columns."""
    monkeypatch.setenv("PATH", tool.environment["PATH"])
    show_status("pi")
    return " ".join(capsys.readouterr().out.split())


FIRST, SECOND = "first, version 1, lock of 2026-11-01 00:00", "new.yml, version 2, lock of 2026-11"


def numbered(stand: SlotsStand) -> Wish:
    """The wish of version 2; version 1 runs."""
    listed = json.loads(stand.pi.text("slot/appliance.json"))
    listed |= {"name": "first", "order": [1, 1793491200]}
    stand.pi.write("slot/appliance.json", json.dumps(listed))
    wish = stand.wish()
    assert wish.system is not None
    return replace(wish, system=replace(wish.system, order=(2, 1794000000)))


def test_the_status_shows_both_slots_with_their_versions(
    stand: SlotsStand,
    tool: Runner,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wish = numbered(stand)
    shown = status_page(tool, capsys, monkeypatch)
    assert f"slot: partition 2 ({FIRST}) other slot: partition 3 (no version known)" in shown
    stand.pi.write("fate", "panic")
    with pytest.raises(PiimageError):
        deployed(stand, tool, wish)
    shown = status_page(tool, capsys, monkeypatch)
    assert f"slot: partition 2 ({FIRST}) other slot: partition 3 ({SECOND}" in shown
    assert "next start: partition 2" in shown
    (stand.pi.root / "fate").unlink()
    deployed(stand, tool, wish)
    shown = status_page(tool, capsys, monkeypatch)
    assert f"other slot: partition 2 ({FIRST}) next start: partition 3" in shown


def test_the_status_says_of_a_slot_that_was_not_written_to_its_end_that_nothing_starts_from_it(
    stand: SlotsStand,
    tool: Runner,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (stand.pi.root / "slot/kernel.img").write_bytes(b"rotten")
    with pytest.raises(PiimageError):
        deployed(stand, tool)
    shown = status_page(tool, capsys, monkeypatch)
    assert "other slot: partition 3 (not written to its end; nothing starts from it)" in shown


def test_after_a_rollback_the_slots_have_the_versions_that_they_had(
    stand: SlotsStand,
    tool: Runner,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deployed(stand, tool, numbered(stand))
    listed = json.loads(stand.pi.text("slot/appliance.json"))
    second = {**listed, "name": "second", "order": [2, 1794000000]}
    stand.pi.write("slot/appliance.json", json.dumps(second))
    (stand.pi.root / "run/piimage/system/confirmed").unlink()
    stand.pi.write("fate", "panic")
    ssh = Ssh(tool, ask=False)
    with (
        linked(ssh, to(stand, tool).host, threading.Event()) as link,
        pytest.raises(PiimageError, match="returned to the version before"),
    ):
        AgentRemote(link, ssh, threading.Event()).roll_back_system()
    shown = status_page(tool, capsys, monkeypatch)
    assert f"other slot: partition 2 ({FIRST})" in shown


@pytest.mark.provokes("deploy.cannot")
def test_an_agent_without_slots_is_said_to_have_none(stand: SlotsStand, tool: Runner) -> None:
    host = to(stand, tool).host
    with linked(Ssh(tool, ask=False), host, threading.Event()) as link:
        link.features = frozenset()
        with pytest.raises(PiimageError, match="cannot change the slot"):
            AgentRemote(link, Ssh(tool, ask=False), threading.Event()).roll_back_system()


def test_a_rollback_of_the_system_is_a_try_of_the_other_slot(
    stand: SlotsStand, tool: Runner
) -> None:
    deployed(stand, tool)
    ssh = Ssh(tool, ask=False)
    (stand.pi.root / "run/piimage/system/confirmed").unlink()  # /run is new after a restart
    with linked(ssh, to(stand, tool).host, threading.Event()) as link:
        assert AgentRemote(link, ssh, threading.Event()).roll_back_system() == "2"
    assert "[all]\ntryboot_a_b=1\nboot_partition=2\n" in stand.autoboot


def test_without_an_update_there_is_nothing_to_roll_back_to(
    stand: SlotsStand, tool: Runner
) -> None:
    ssh = Ssh(tool, ask=False)
    host = to(stand, tool).host
    with (
        linked(ssh, host, threading.Event()) as link,
        pytest.raises(PiimageError, match="no version that was kept once"),
    ):
        AgentRemote(link, ssh, threading.Event()).roll_back_system()
