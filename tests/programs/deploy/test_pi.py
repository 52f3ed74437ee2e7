"""Deploys to a stand-in for a Pi, over a stand-in for ssh: the real agent, the real tool."""

from __future__ import annotations

import json
import shlex
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from piimage.deploy.pi import Wish
from piimage.deploy.release import Release
from piimage.errors import InputError, PiimageError
from piimage.run import Runner
from piimage.store import Store
from tests.unit.deploy import stand_in
from tests.unit.deploy.stand_in import Stand, definition, fake_ssh, liar, release, target


@pytest.fixture
def pi(tmp_path: Path) -> Stand:
    return Stand(tmp_path / "pi", one="1", two="1")


def deploy(ssh: Runner, store: Store, wish: Release | Wish) -> tuple[str, ...]:
    return target(ssh, store, "pi", wish).deploy(lambda line: None).changed


def test_what_changed_travels_and_is_kept(pi: Stand, ssh: Runner, store: Store) -> None:
    new = release(store, one="2", two="1")
    plan = target(ssh, store, "pi", new).plan()
    assert (plan.layers, plan.restart, plan.start, plan.stop) == (2, ("one",), (), ())
    assert deploy(ssh, store, new) == ("one",)
    assert pi.running == new.containers
    assert (pi.root / f"data/piimage/current.{pi.slot}/good").exists()
    assert target(ssh, store, "pi", new).plan().nothing
    assert deploy(ssh, store, new) == ()


def test_layers_that_nothing_uses_are_collected(pi: Stand, ssh: Runner, store: Store) -> None:
    releases = [release(store, one=str(n), two="1") for n in range(2, 6)]
    for new in releases:
        deploy(ssh, store, new)
    last = {*releases[-1].layers, *releases[-2].layers}
    assert {name.removesuffix(".squashfs") for name in pi.layers} <= last
    assert len(list((pi.root / "data/piimage/generations").iterdir())) == 2


@pytest.mark.provokes("deploy.rolled-back")
@pytest.mark.parametrize("fate", ["crash", "never", "unhealthy", "gone"])
def test_a_version_that_is_not_healthy_is_undone(
    pi: Stand, ssh: Runner, store: Store, fate: str
) -> None:
    with pytest.raises(PiimageError, match="rolled back to the previous version") as caught:
        deploy(ssh, store, release(store, one=f"2 {fate}", two="1"))
    assert caught.value.code == "deploy.rolled-back"
    assert "one" in caught.value.message
    assert pi.running == pi.slot
    assert pi.text("run/piimage/health/one") == "healthy\n"


def test_after_a_good_one_a_bad_one_leads_back_to_the_good_one(
    pi: Stand, ssh: Runner, store: Store
) -> None:
    good = release(store, one="2", two="1")
    deploy(ssh, store, good)
    with pytest.raises(PiimageError, match="rolled back to the previous version"):
        deploy(ssh, store, release(store, one="3 crash", two="1"))
    assert pi.running == good.containers


@pytest.mark.provokes("deploy.interrupted")
def test_a_tool_that_dies_half_way_leaves_the_old_version(
    pi: Stand, ssh: Runner, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancelled = threading.Event()
    deploying = target(ssh, store, "pi", release(store, one="2", two="1"), cancelled)

    def interrupt(line: str) -> None:
        if line.startswith("switched"):
            cancelled.set()

    # The Pi waits for its confirmation: as short as it goes.
    from piimage.deploy.link import Link

    ask = Link.ask

    def hasty(self: Link, op: str, **more: object) -> object:
        if op == "switch":
            more["confirm"] = 1
        return ask(self, op, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Link, "ask", hasty)
    with pytest.raises(PiimageError) as caught:
        deploying.deploy(interrupt)
    assert caught.value.code == "deploy.interrupted"
    _until(lambda: pi.running == pi.slot and "rolled-back" in pi.text("run/piimage/agent/1/events"))


def _until(true: object) -> None:
    end = time.monotonic() + 20
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.05)


def test_one_service_alone_leaves_the_others(
    pi: Stand, ssh: Runner, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def written(folders: dict[str, bytes], runner: Runner, store: Store) -> object:
        return store.add_bytes(stand_in.layer({p: d.decode() for p, d in folders.items()}))

    monkeypatch.setattr("piimage.deploy.release._containers_layer", written)
    new = release(store, one="2", two="2")
    assert deploy(ssh, store, Wish(new, services=("two",))) == ("two",)
    assert json.loads(pi.text("run/piimage/containers/services/one/config.json"))["version"] == "1"
    assert json.loads(pi.text("run/piimage/containers/services/two/config.json"))["version"] == "2"


@pytest.mark.provokes("deploy.wrong-board", "deploy.needs-flash")
def test_a_pi_of_another_board_or_system_is_refused(pi: Stand, ssh: Runner, store: Store) -> None:
    from dataclasses import replace

    new = release(store, one="2", two="1")
    with pytest.raises(InputError, match="this is a qemu-virt"):
        deploy(ssh, store, replace(new, board="pi4"))
    other = replace(new, system={"d" * 64: "unpack 9 packages for the system"}, kernel="7.0")
    with pytest.raises(InputError, match=r"the kernel .*9 packages for the system") as caught:
        deploy(ssh, store, other)
    assert caught.value.code == "deploy.needs-flash"
    assert not (pi.root / "data/piimage/layers").exists()
    assert target(ssh, store, "pi", replace(new, system={"d" * 64: ""})).plan().restart == ("one",)
    assert deploy(ssh, store, Wish(other, containers_only=True)) == ("one",)


def test_a_system_that_cannot_give_devices_is_refused_before_anything_is_sent(
    pi: Stand, tmp_path: Path, ssh: Runner, store: Store
) -> None:
    from dataclasses import replace

    new = release(store, one="2", two="1")
    asking = replace(new, definitions=(definition("one", devices=["/dev/hwrng"]),))
    old = fake_ssh(tmp_path / "old", {"pi": liar(tmp_path, [HELLO, SLOT])})
    with pytest.raises(InputError, match="cannot give devices to services/one;") as caught:
        deploy(old, store, Wish(asking, containers_only=True))
    assert caught.value.code == "deploy.needs-flash"
    assert target(ssh, store, "pi", asking).plan().layers


@pytest.mark.provokes("deploy.needs-flash")
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"secrets": ["token"]}, "cannot give secrets to services/one;"),
        ({"schedule": "0 3 * * *"}, "cannot keep the schedule of services/one;"),
    ],
)
def test_a_system_without_secrets_or_schedules_is_refused_before_anything_is_sent(
    pi: Stand, tmp_path: Path, ssh: Runner, store: Store, fields: dict[str, Any], message: str
) -> None:
    from dataclasses import replace

    new = release(store, one="2", two="1")
    asking = replace(new, definitions=(definition("one", **fields),))
    old = fake_ssh(tmp_path / "old", {"pi": liar(tmp_path, [HELLO, SLOT])})
    with pytest.raises(InputError, match=message):
        deploy(old, store, Wish(asking, containers_only=True))
    assert target(ssh, store, "pi", asking).plan().layers


@pytest.mark.provokes("deploy.wrong-architecture")
def test_a_pi_of_another_architecture_is_refused(
    ssh: Runner, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("piimage.deploy.pi.MACHINE", "riscv64")
    with pytest.raises(PiimageError, match="containers of riscv64") as caught:
        deploy(ssh, store, release(store, one="2", two="1"))
    assert caught.value.code == "deploy.wrong-architecture"


@pytest.mark.provokes("deploy.refused")
def test_what_the_agent_refuses_is_said(pi: Stand, ssh: Runner, store: Store) -> None:
    with pi.agent() as talk:
        talk.greet()
        talk.ask("put", layer="0" * 64, size=5)
        with pytest.raises(PiimageError, match="another deploy is running") as caught:
            deploy(ssh, store, release(store, one="2", two="1"))
    assert caught.value.code == "deploy.refused"


@pytest.mark.provokes("deploy.unhealthy")
def test_a_pi_that_cannot_go_back_is_said_to_be_unwell(
    pi: Stand, ssh: Runner, store: Store
) -> None:
    program = pi.root / "usr/lib/piimage/switch"
    program.write_text(
        program.read_text().replace(
            "else:\n    use(words[1])",
            f"elif words[1] != '{pi.slot}':\n    use(words[1])\nelse:\n    sys.exit(1)",
        )
    )
    with pytest.raises(PiimageError, match="the rollback failed") as caught:
        deploy(ssh, store, release(store, one="2 crash", two="1"))
    assert caught.value.code == "deploy.unhealthy"


def test_a_switch_that_ends_in_the_middle_leaves_nothing_stopped(
    pi: Stand, ssh: Runner, store: Store
) -> None:
    program = pi.root / "usr/lib/piimage/switch"
    half = (
        'def use(layer):\n    (run / "services/one/state").write_text("stopped")\n    sys.exit(1)\n'
    )
    program.write_text(program.read_text().replace("def use(layer):\n", half, 1))
    with pytest.raises(PiimageError, match="the switch failed") as caught:
        deploy(ssh, store, release(store, one="2", two="1"))
    assert caught.value.code == "deploy.rolled-back"
    assert pi.text("initctl") == "start one\nstart two\n"
    assert pi.running == pi.slot


def test_what_a_failed_deploy_brought_is_collected(pi: Stand, ssh: Runner, store: Store) -> None:
    with pytest.raises(PiimageError):
        deploy(ssh, store, release(store, one="2 crash", two="1"))
    assert pi.layers == set()
    assert list((pi.root / "data/piimage/generations").iterdir()) == []


HELLO = {"ok": True, "features": ["put-zlib"]}
SLOT = {
    "ok": True, "board": "qemu-virt", "kernel": "6.12", "arch": stand_in.MACHINE, "prefix": "",
    "system": ["a" * 64], "files": {"config.txt": "b" * 64}, "containers": "e" * 64,
    "running": "e" * 64, "temporary": False, "folders": {},
}  # fmt: skip


@pytest.mark.provokes("deploy.bad-answer")
@pytest.mark.parametrize(
    "answers",
    [
        ["SSH-2.0-somebody else entirely\r\n"],
        ["\xb1\x1a\x7f\xff\xff\xff\x00\x00\x00\x00"],
        ["\xb1\x1a\x00\x00\x00\x02\x00\x00\x00\x00[]"],
        [{"ok": True, "features": "all"}],
        [HELLO, {**SLOT, "board": 7}],
        [HELLO, {**SLOT, "system": ["../../etc"]}],
        [HELLO, SLOT, {"ok": True, "have": ["f" * 64], "partial": {}}],
        [HELLO, SLOT, {"ok": True, "have": [], "partial": {"../x": 5}}],
        [HELLO, SLOT, {"ok": True, "have": [], "partial": {}}, {"ok": True, "offset": -5}],
        [HELLO, SLOT, {"ok": True, "have": [], "partial": {}}, {"ok": True, "offset": 1 << 40}],
        [HELLO, SLOT, {"ok": "yes"}],
    ],
)
def test_an_agent_that_lies_is_found_out(
    tmp_path: Path, store: Store, answers: list[object]
) -> None:
    ssh = fake_ssh(tmp_path / "bin", {"pi": liar(tmp_path, answers)})
    with pytest.raises(PiimageError) as caught:
        deploy(ssh, store, release(store, one="2"))
    assert caught.value.code == "deploy.bad-answer"


def test_an_agents_words_do_not_steer_the_terminal(tmp_path: Path, store: Store) -> None:
    refusal = {"ok": False, "error": {"code": "x", "message": "\x1b[2Jgone", "hint": "\x07"}}
    ssh = fake_ssh(tmp_path / "bin", {"pi": liar(tmp_path, [HELLO, refusal])})
    with pytest.raises(PiimageError) as caught:
        deploy(ssh, store, release(store, one="2"))
    assert str(caught.value).isprintable()


@pytest.mark.provokes("deploy.old-agent", "deploy.cannot", "deploy.bad-folders")
def test_an_agent_of_another_time_says_what_to_update(tmp_path: Path, store: Store) -> None:
    def refused(code: str) -> dict[str, object]:
        return {"ok": False, "error": {"code": code, "message": "old", "hint": "flash it"}}

    wish = Wish(release(store, one="2"), services=("one",))
    bad = {"ok": True, "files": {"services/../../etc/passwd": "x"}}
    cases: dict[str, list[object]] = {
        "deploy.old-agent": [refused("protocol")],
        "deploy.cannot": [HELLO, refused("unknown-operation")],
        "deploy.bad-folders": [HELLO, SLOT, bad],
    }
    for code, answers in cases.items():
        ssh = fake_ssh(tmp_path / "bin", {"pi": liar(tmp_path, answers)})
        with pytest.raises(PiimageError) as caught:
            deploy(ssh, store, wish)
        assert caught.value.code == code


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param(
            "echo 'ssh: connect to host pi port 22: No route to host' >&2; exit 255",
            "deploy.no-connection", marks=pytest.mark.provokes("deploy.no-connection"),
        ),
        pytest.param(
            "echo 'sh: piimage-agent: not found' >&2; exit 127",
            "deploy.no-agent", marks=pytest.mark.provokes("deploy.no-agent"),
        ),
        pytest.param(
            "echo 'Host key verification failed.' >&2; exit 255",
            "deploy.host-key", marks=pytest.mark.provokes("deploy.host-key"),
        ),
        pytest.param(
            "echo 'root@pi: Permission denied (publickey).' >&2; exit 255",
            "deploy.no-login", marks=pytest.mark.provokes("deploy.no-login"),
        ),
        pytest.param("exit 1", "deploy.lost", marks=pytest.mark.provokes("deploy.lost")),
    ],
)  # fmt: skip
def test_a_host_that_is_not_reached_says_why(
    tmp_path: Path, store: Store, script: str, expected: str
) -> None:
    ssh = fake_ssh(tmp_path / "bin", {"pi": f"sh -c {shlex.quote(script)}"})
    with pytest.raises(PiimageError) as caught:
        deploy(ssh, store, release(store, one="2"))
    assert caught.value.code == expected
    assert caught.value.hint


@pytest.mark.provokes("deploy.timeout")
def test_a_silent_agent_is_given_up(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("piimage.deploy.link._GREETING_S", 0.3)
    ssh = fake_ssh(tmp_path / "bin", {"pi": "sleep 20"})
    with pytest.raises(PiimageError, match="no response within") as caught:
        deploy(ssh, store, release(store, one="2"))
    assert caught.value.code == "deploy.timeout"


@pytest.mark.provokes("deploy.unknown-service")
def test_a_service_that_the_file_has_not_is_refused(ssh: Runner, store: Store) -> None:
    with pytest.raises(InputError, match="no service 'three'"):
        deploy(ssh, store, Wish(release(store, one="2", two="1"), services=("three",)))
