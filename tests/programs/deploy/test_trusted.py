"""What a Pi takes for its other slot: signed by a trusted key, not older, agreed to by services."""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from shutil import which

import pytest

from piimage.cli.deploy import _show_plan
from piimage.deploy import system
from piimage.deploy.pi import PiTarget, Wish
from piimage.deploy.rollout import Result
from piimage.deploy.system import Consent
from piimage.deploy.target import Outcome
from piimage.errors import PiimageError
from piimage.events import Event, Note
from piimage.run import Runner
from piimage.signing import Signer
from tests.programs.deploy.slots_stand import SlotsStand
from tests.unit.deploy.stand_in import fake_ssh, target
from tests.unit.signing_keys import Pair, pair

OLD, NEW = (3, 1_700_000_000), (3, 1_800_000_000)
LISTED = '{"board": "qemu-virt", "kernel": "6.12", "system": [], "files": {}}'
# containerd's runc, which runs the hook itself, outside of any container.
RUNC = """
import os, pathlib, sys
root = pathlib.Path(__file__).parents[2]
_, flag, state, verb, name, *command = sys.argv
assert (flag, verb) == ("--root", "exec"), sys.argv
(root / "ran").open("a").write(name + " " + " ".join(command) + "\\n")
os.execv(command[0], command)
"""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    folder = tmp_path_factory.mktemp("keys")
    return {name: pair(folder, name) for name in ("ours", "next", "other")}


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlotsStand:
    monkeypatch.setattr(system, "_PAUSE_S", 0.1)
    monkeypatch.setattr(system, "_RESTART_S", 10.0)
    monkeypatch.setattr(system, "_MARGIN_S", 10.0)
    return SlotsStand(tmp_path)


@pytest.fixture
def tool(stand: SlotsStand) -> Runner:
    return fake_ssh(stand.folder / "bin", {"pi": shlex.join(stand.pi.command())})


@pytest.fixture
def trusting(stand: SlotsStand, keys: dict[str, Pair]) -> SlotsStand:
    """A Pi that trusts two keys, and whose slots have appliance.json signed by the first one."""
    openssl = which("openssl")
    assert openssl is not None
    (stand.pi.root / "usr/bin").mkdir()
    (stand.pi.root / "usr/bin/openssl").symlink_to(openssl)
    trust(stand, keys["ours"], keys["next"])
    sign_manifest(stand, keys["ours"].signer)
    return stand


def trust(stand: SlotsStand, *pairs: Pair) -> None:
    certificates = "".join(pair.certificate.read_text() for pair in pairs)
    stand.pi.write("etc/piimage/signing.pem", certificates)


def sign_manifest(stand: SlotsStand, signer: Signer) -> None:
    path = stand.pi.root / "slot/appliance.json"
    (stand.pi.root / "slot/appliance.json.cms").write_bytes(
        signer.sign(path.read_bytes(), Runner())
    )


def wish(stand: SlotsStand, signer: Signer | None, order: tuple[int, int] = (0, 0)) -> Wish:
    made = stand.wish()
    assert made.system is not None
    return replace(made, system=replace(made.system, signer=signer, order=order))


def to(stand: SlotsStand, tool: Runner, wanted: Wish) -> PiTarget:
    return target(tool, stand.store, "pi", wanted)


def deployed(stand: SlotsStand, tool: Runner, wanted: Wish) -> Outcome:
    return to(stand, tool, wanted).deploy(lambda line: None)


def refused(stand: SlotsStand, tool: Runner, wanted: Wish) -> PiimageError:
    """Return the error of a deploy after which the other slot is as it was, and nothing tried."""
    before = stand.slot(3)
    with pytest.raises(PiimageError) as caught:
        deployed(stand, tool, wanted)
    assert stand.slot(3) == before
    assert stand.autoboot == "[all]\ntryboot_a_b=1\nboot_partition=2"
    return caught.value


def state(stand: SlotsStand) -> str:
    return stand.pi.text("data/piimage/system/state").partition("\n")[0]


@pytest.mark.parametrize("name", ["ours", "next"])
def test_each_of_two_trusted_keys_signs_a_version_that_is_kept(
    trusting: SlotsStand, tool: Runner, keys: dict[str, Pair], name: str
) -> None:
    assert deployed(trusting, tool, wish(trusting, keys[name].signer)).system
    assert state(trusting) == "STATE='kept'"


@pytest.mark.provokes("deploy.unsigned")
@pytest.mark.parametrize(
    ("name", "reason"),
    [("", "the file has no signing:"), ("other", r"it does not trust .*/other\.pem")],
)
def test_a_version_without_a_trusted_key_is_refused_before_anything_is_sent(
    trusting: SlotsStand, tool: Runner, keys: dict[str, Pair], name: str, reason: str
) -> None:
    error = refused(trusting, tool, wish(trusting, keys[name].signer if name else None))
    assert error.code == "deploy.unsigned"
    assert re.search(reason, error.message)
    assert not (trusting.pi.root / "data/piimage/system/files").exists()


class Thief(Signer):
    """Signs with another key than that of its certificate, which every card has."""

    def sign(self, data: bytes, runner: Runner) -> bytes:
        key = Path(self.key).with_name("other.key")
        return Signer(str(key), key.with_suffix(".pem")).sign(data, runner)


class Forger(Signer):
    """Signs something else than what it is given."""

    def sign(self, data: bytes, runner: Runner) -> bytes:
        return super().sign(data.replace(b'"size"', b'"Size"'), runner)


class Embedder(Signer):
    """Puts other bytes, which it signs, into the signature."""

    def sign(self, data: bytes, runner: Runner) -> bytes:
        return subprocess.run(
            ["openssl", "cms", "-sign", "-binary", "-nodetach", "-noattr", "-signer",
             self.certificate, "-inkey", self.key, "-outform", "DER"],
            input=b"other bytes", check=True, capture_output=True, timeout=60,
        ).stdout  # fmt: skip


class Unable(Signer):
    """Gives bytes that are no signature."""

    def sign(self, data: bytes, runner: Runner) -> bytes:
        return b"0\x03\x02\x01\x05"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Thief, "the key is not trusted"),
        (Forger, "the bytes differ"),
        (Embedder, "the bytes differ"),
        (Unable, "the bytes differ"),
    ],
)
def test_a_signature_by_another_key_or_of_other_bytes_is_refused(
    trusting: SlotsStand, tool: Runner, keys: dict[str, Pair], kind: type[Signer], reason: str
) -> None:
    signer = kind(str(keys["ours"].key), keys["ours"].certificate)
    error = refused(trusting, tool, wish(trusting, signer))
    assert reason in error.message
    assert error.code == "deploy.refused"


def test_the_agent_itself_refuses_what_is_not_signed_or_too_old(
    trusting: SlotsStand, keys: dict[str, Pair]
) -> None:
    """Whatever the tool on the other side says."""
    wanted = wish(trusting, keys["ours"].signer, OLD).system
    assert wanted is not None
    recipe = wanted.recipe("3")
    folder = trusting.pi.root / "data/piimage/system/files"
    folder.mkdir(parents=True)
    (folder / recipe.digest).write_bytes(recipe.data)
    trusting.pi.write("data/piimage/system/floor", f"{NEW[0]} {NEW[1]}\n")
    signature = wanted.signature(recipe).hex()
    fields = {"recipe": recipe.digest, "note": "", "target": "3"}
    with trusting.pi.agent() as talk:
        talk.greet()
        assert talk.refusal("system-write", **fields) == "unsigned"
        assert talk.refusal("system-write", **fields, signature="no digits") == "bad-request"
        assert talk.refusal("system-write", **fields, signature=signature) == "downgrade"
        assert talk.refusal("system-write", **fields, signature=signature, downgrade=True) == (
            "incomplete"  # it would be written, if its files had been sent
        )


def test_a_version_that_does_not_trust_its_own_key_is_undone(
    trusting: SlotsStand, tool: Runner, keys: dict[str, Pair]
) -> None:
    """It would take no update any more."""
    sign_manifest(trusting, keys["other"].signer)
    with pytest.raises(PiimageError, match="the key is not trusted") as caught:
        deployed(trusting, tool, wish(trusting, keys["ours"].signer))
    assert caught.value.code == "deploy.undone"
    assert state(trusting) == "STATE='undone'"


def test_a_version_without_signing_takes_the_place_of_nothing_that_has_it(
    trusting: SlotsStand, tool: Runner, keys: dict[str, Pair]
) -> None:
    (trusting.pi.root / "slot/appliance.json.cms").unlink()
    with pytest.raises(PiimageError, match=r"appliance\.json of the new version is not signed"):
        deployed(trusting, tool, wish(trusting, keys["ours"].signer))


def test_a_pi_without_certificates_asks_for_no_signature(stand: SlotsStand, tool: Runner) -> None:
    assert deployed(stand, tool, wish(stand, None)).system
    assert state(stand) == "STATE='kept'"


# --- the floor


def floor(stand: SlotsStand) -> str:
    return stand.pi.text("data/piimage/system/floor")


def runs(stand: SlotsStand, order: tuple[int, int]) -> None:
    """Have both slots say that their version has this place."""
    stand.pi.write("slot/appliance.json", LISTED.replace("{", f'{{"order": {list(order)}, ', 1))


def test_the_floor_rises_with_each_version_that_is_kept(stand: SlotsStand, tool: Runner) -> None:
    stand.pi.write("data/piimage/system/floor", f"{OLD[0]} {OLD[1]}\n")
    runs(stand, NEW)
    deployed(stand, tool, wish(stand, None, NEW))
    assert floor(stand) == f"{NEW[0]} {NEW[1]}\n"


@pytest.mark.provokes("deploy.downgrade")
@pytest.mark.parametrize("older", [OLD, (2, 1_900_000_000), (0, 0)])
def test_a_version_below_the_floor_is_refused_before_anything_is_sent(
    stand: SlotsStand, tool: Runner, older: tuple[int, int]
) -> None:
    stand.pi.write("data/piimage/system/floor", f"{NEW[0]} {NEW[1]}\n")
    error = refused(stand, tool, wish(stand, None, older))
    assert error.code == "deploy.downgrade"
    assert "version 3, lock of 2027-01-15 08:00" in error.message
    assert not (stand.pi.root / "data/piimage/system/files").exists()


def test_what_runs_is_a_floor_too(stand: SlotsStand, tool: Runner) -> None:
    """A card that was flashed has kept nothing yet."""
    runs(stand, NEW)
    assert refused(stand, tool, wish(stand, None, OLD)).code == "deploy.downgrade"


def test_an_older_version_that_is_allowed_is_kept_and_the_floor_stays(
    stand: SlotsStand, tool: Runner
) -> None:
    stand.pi.write("data/piimage/system/floor", f"{NEW[0]} {NEW[1]}\n")
    runs(stand, OLD)
    deployed(stand, tool, replace(wish(stand, None, OLD), consent=Consent(downgrade=True)))
    assert state(stand) == "STATE='kept'"
    assert floor(stand) == f"{NEW[0]} {NEW[1]}\n"


@pytest.mark.parametrize("text", ["", "3\n", "-1 5\n", "a b\n", "1 2 3\n", "² 5\n"])
def test_a_floor_that_is_not_readable_is_that_of_what_runs(
    stand: SlotsStand, tool: Runner, text: str
) -> None:
    stand.pi.write("data/piimage/system/floor", text)
    runs(stand, OLD)
    assert to(stand, tool, wish(stand, None, OLD)).plan().system


# --- hooks of services


def hook(stand: SlotsStand, script: str, seconds: int = 30) -> None:
    stand.pi._program("usr/sbin/runc", RUNC)
    path = "run/piimage/containers/services/one/before_update"
    stand.pi.write(path, f'{{"command": ["/bin/sh", "-c", "{script}"], "timeout": {seconds}}}')


def test_a_hook_runs_in_the_services_container_before_the_restart(
    stand: SlotsStand, tool: Runner
) -> None:
    hook(stand, "exit 0")
    plan = to(stand, tool, wish(stand, None)).plan()
    assert plan.hooks == ("one",)
    told: list[Event] = []
    _show_plan(Result("pi", plan), told.append)
    (note,) = told
    assert isinstance(note, Note)
    assert note.text.endswith("writes the other slot; runs before_update of one; restarts the Pi")
    assert not (stand.pi.root / "ran").exists()
    deployed(stand, tool, wish(stand, None))
    assert stand.pi.text("ran") == "one /bin/sh -c exit 0\n"
    assert state(stand) == "STATE='kept'"


@pytest.mark.parametrize(
    ("script", "seconds", "reason"),
    [
        ("echo the harvest is on; exit 1", 30, "one refuses the update: the harvest is on"),
        ("exit 9", 30, "its hook exited with code 9"),
        ("sleep 60", 0, "it took more than 0 s"),
    ],
)
def test_a_hook_that_fails_refuses_the_update_and_the_next_deploy_tries_at_once(
    stand: SlotsStand, tool: Runner, script: str, seconds: int, reason: str
) -> None:
    hook(stand, script, seconds)
    with pytest.raises(PiimageError, match=reason) as caught:
        deployed(stand, tool, wish(stand, None))
    assert caught.value.code == "deploy.refused"
    assert state(stand) == "STATE='written'"
    assert stand.autoboot == "[all]\ntryboot_a_b=1\nboot_partition=2"
    hook(stand, "exit 0")
    assert deployed(stand, tool, wish(stand, None)).sent < 2000


@pytest.mark.parametrize("text", ["{", "[]", '{"command": []}', '{"command": 5, "timeout": 1}'])
def test_a_hook_that_is_not_readable_refuses_and_the_status_is_shown_all_the_same(
    stand: SlotsStand, tool: Runner, text: str
) -> None:
    """Whoever deployed those containers did not use this tool."""
    stand.pi.write("run/piimage/containers/services/one/before_update", text)
    assert to(stand, tool, wish(stand, None)).plan().hooks == ("one",)
    with pytest.raises(PiimageError, match="its before_update is not readable"):
        deployed(stand, tool, wish(stand, None))


def test_a_service_that_is_not_up_cannot_agree(stand: SlotsStand, tool: Runner) -> None:
    hook(stand, "exit 0")
    stand.pi.write("run/piimage/health/one", "unhealthy\n")
    with pytest.raises(PiimageError, match="one refuses the update: it is not up"):
        deployed(stand, tool, wish(stand, None))
    assert not (stand.pi.root / "ran").exists()
