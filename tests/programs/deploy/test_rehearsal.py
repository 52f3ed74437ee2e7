"""Rehearsals: what is tried beside the version that serves, and what follows from it."""

from __future__ import annotations

import copy
import json
import os
import shlex
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from piimage_agent import change, generations, rehearsal
from piimage_agent.layers import incoming_layer
from piimage_agent.root import Root
from piimage_agent.settling import Settling

from piimage.errors import PiimageError
from piimage.run import Runner
from piimage.store import Store
from tests.branches import QUICK, at_least
from tests.unit.deploy.stand_in import (
    CONFINED,
    Stand,
    containers,
    fake_ssh,
    layer,
    release,
    sha256,
    target,
)


@pytest.fixture
def pi(tmp_path: Path) -> Stand:
    return Stand(tmp_path / "pi", one="1 tried", two="1 tried")


def deploy(ssh: Runner, store: Store, **services: str) -> list[str]:
    """Deploy, and return what was told."""
    told: list[str] = []
    target(ssh, store, "pi", release(store, **services)).deploy(told.append)
    return told


def rehearsed(pi: Stand) -> list[str]:
    """The services that were tried, in order."""
    path = pi.root / "rehearsed"
    return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


def test_what_changed_is_tried_before_anything_is_stopped(
    pi: Stand, ssh: Runner, store: Store
) -> None:
    told = deploy(ssh, store, one="2 tried", two="1 tried")
    tried = told.index("rehearsing one")
    assert tried < told.index("switched; changed: one")
    assert rehearsed(pi) == ["one"]


@pytest.mark.provokes("deploy.rehearsal")
def test_what_fails_there_stops_nothing(pi: Stand, ssh: Runner, store: Store) -> None:
    with pytest.raises(PiimageError, match="one: it exited with code 7") as caught:
        deploy(ssh, store, one="2 fails", two="2 tried")
    assert caught.value.code == "deploy.rehearsal"
    assert "no service was stopped" in caught.value.message
    assert pi.running == pi.slot
    assert rehearsed(pi) == ["one", "one"]  # the old version as well, as the control
    assert not (pi.root / "initctl").exists()
    assert pi.layers == set()


def test_a_failure_that_the_version_that_serves_shares_counts_for_nothing(
    tmp_path: Path, store: Store
) -> None:
    pi = Stand(tmp_path / "other", one="1 fails")
    ssh = fake_ssh(tmp_path / "bin", {"pi": shlex.join(pi.command())})
    deploy(ssh, store, one="2 fails")
    assert pi.running != pi.slot


@pytest.mark.provokes("deploy.rolled-back")
def test_what_passes_and_fails_for_real_is_undone(pi: Stand, ssh: Runner, store: Store) -> None:
    with pytest.raises(PiimageError, match="rolled back to the previous version"):
        deploy(ssh, store, one="2 tried crash", two="1 tried")
    assert pi.running == pi.slot


def test_what_does_not_serve_and_what_is_new_is_not_tried(
    pi: Stand, ssh: Runner, store: Store
) -> None:
    (pi.root / "run/piimage/health/one").write_text("unhealthy\n")
    deploy(ssh, store, one="2 tried", two="1 tried", three="1 tried")
    assert rehearsed(pi) == []


def test_without_memory_for_two_it_is_not_tried(pi: Stand, ssh: Runner, store: Store) -> None:
    (pi.root / "proc/meminfo").write_text("MemAvailable: 60000 kB\n")
    deploy(ssh, store, one="2 tried", two="1 tried")
    assert rehearsed(pi) == []


def test_a_rehearsal_that_cannot_be_leaves_it_to_the_real_start(
    pi: Stand, ssh: Runner, store: Store
) -> None:
    (pi.root / "usr/lib/piimage/rehearse").write_text("#!/bin/sh\nexit 1\n")
    deploy(ssh, store, one="2 tried", two="1 tried")
    assert pi.running != pi.slot


def test_a_tool_that_does_not_ask_for_one_gets_none(
    pi: Stand, ssh: Runner, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("piimage.deploy.link.Link.greet", _greet_an_old_agent)
    deploy(ssh, store, one="2 tried", two="1 tried")
    assert rehearsed(pi) == []


def test_what_passed_its_rehearsal_is_watched_for_less_long_when_it_starts(
    pi: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Root(str(pi.root))
    passed: list[list[str]] = []

    class Noting(Settling):
        def __init__(self, root: Root, names: list[str], rehearsed: list[str]) -> None:
            passed.append(rehearsed)
            super().__init__(root, names, rehearsed)

    monkeypatch.setattr(change, "Settling", Noting)
    top = layer(containers(one="2 tried", two="2 fails", three="1 tried"))
    incoming = incoming_layer(root, sha256(top), len(top))
    incoming.add(top)
    incoming.finish()
    pi.write(f"run/piimage/layers/{pi.slot}/services/two/container.env", "REHEARSAL='as it was'\n")
    target = generations.create(root, sha256(top), [], "note")
    events = tmp_path / "events"
    events.mkdir()
    (events / "keep").touch()
    change.Deploy(root, str(events), target, 5, 5, rehearse=True).run()
    assert generations.running(root) == sha256(top)
    assert rehearsed(pi) == ["one", "two", "two"]
    assert passed == [["one"]]


def _greet_an_old_agent(link: object) -> None:
    from piimage.deploy.link import Link

    assert isinstance(link, Link)
    link.ask("hello", protocols=[1, 1])


def config(**changes: object) -> dict[str, object]:
    """A confined config.json with something changed: ``mounts=...``, ``linux__devices=...``."""
    whole: dict[str, object] = copy.deepcopy(CONFINED)
    for path, value in changes.items():
        place, (*folders, name) = whole, path.split("__")
        for folder in folders:
            place = place[folder]  # type: ignore[assignment]
        place[name] = value
    return whole


def bind(source: str, *options: str) -> dict[str, object]:
    return {"destination": "/x", "type": "bind", "source": source, "options": list(options)}


@pytest.mark.parametrize(
    "reaching",
    [
        config(process__capabilities={"bounding": ["CAP_NET_ADMIN"]}),
        config(linux__devices=[{"path": "/dev/i2c-1"}]),
        config(linux__resources={"devices": [{"allow": True, "type": "c"}]}),
        config(linux__namespaces=[{"type": "pid"}, {"type": "mount"}, {"type": "user"}]),
        config(linux__namespaces=[{"type": "mount"}]),
        config(linux__namespaces=[{"type": "pid", "path": "/proc/1/ns/pid"}, {"type": "mount"}]),
        config(linux__rootfsPropagation="shared"),
        config(linux__readonlyPaths=[]),
        config(hooks={"createRuntime": [{"path": "/usr/lib/piimage/hook"}]}),
        config(hooks={"poststop": []}),
        config(mounts=[bind("/dev/piimage/services/one/i2c-1", "rw")]),
        config(mounts=[bind("/run/containerd/containerd.sock", "rw", "rbind")]),
        config(mounts=[bind("/data/../etc", "rw")]),
        config(mounts=[bind("/data/one,two", "rw")]),
        config(mounts=[bind("/data/not/there", "rw")]),
        config(mounts=[bind("/data/socket", "ro")]),
        config(mounts=[{**bind("/data", "rbind"), "type": "none"}]),
        config(mounts=[{**bind("/dev/sda1"), "type": "ext4"}]),
        config(mounts=7),
        {},
    ],
)
def test_what_reaches_out_of_its_container_is_not_tried(pi: Stand, reaching: object) -> None:
    os.mkfifo(pi.root / "data/socket")
    place = pi.root / "run/piimage/layers" / pi.slot / "services/one/config.json"
    place.write_text(json.dumps(reaching))
    assert not rehearsal._fits(Root(str(pi.root)), pi.slot, "one")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = ("process", "root", "mounts", "linux", "hooks")
LINUX = ("namespaces", "resources", "readonlyPaths", "devices", "cgroupsPath")


def test_whatever_a_layer_says_it_is_refused_or_confined(tmp_path: Path) -> None:
    root = Root(str(tmp_path))
    folder = tmp_path / "run/piimage/layers/aaa/services/one"
    folder.mkdir(parents=True)

    def run(ways: Counter[str]) -> None:
        @QUICK
        @given(
            st.dictionaries(st.sampled_from((*KEYS, "hostname", "ociVersion")), JSON, max_size=1),
            st.dictionaries(st.sampled_from((*LINUX, "sysctl", "seccomp")), JSON, max_size=1),
        )
        def any_layer(top: dict[str, object], inner: dict[str, object]) -> None:
            whole = config(linux={**CONFINED["linux"], **inner})  # type: ignore[dict-item]
            whole |= top
            (folder / "config.json").write_text(json.dumps(whole))
            if not rehearsal._fits(root, "aaa", "one"):
                ways["refused"] += 1
                return
            assert list(rehearsal._confine(root, whole, "one")) == []
            linux = whole["linux"]
            assert isinstance(linux, dict)
            kinds = {namespace["type"] for namespace in linux["namespaces"]}
            assert {"network", "ipc", "uts", "pid", "mount"} <= kinds
            assert not any("path" in namespace for namespace in linux["namespaces"])
            assert linux["cgroupsPath"] == "/piimage/rehearsal/one"
            ways["confined"] += 1

        any_layer()

    at_least({"refused": 20, "confined": 20}, run)


@pytest.mark.parametrize("key", ["root", "process", "mounts", "linux"])
def test_what_cannot_be_confined_is_not_tried(tmp_path: Path, key: str) -> None:
    folder = tmp_path / "run/piimage/layers/aaa/services/one"
    folder.mkdir(parents=True)
    for whole in ({**config(), key: None}, {k: v for k, v in config().items() if k != key}):
        (folder / "config.json").write_text(json.dumps(whole))
        assert not rehearsal._fits(Root(str(tmp_path)), "aaa", "one")


@pytest.mark.parametrize("script", ["prestart", "poststart"])
def test_what_has_a_script_of_its_own_is_not_tried(pi: Stand, script: str) -> None:
    folder = pi.root / "run/piimage/layers" / pi.slot / "services/one"
    assert rehearsal._fits(Root(str(pi.root)), pi.slot, "one")
    (folder / script).touch()
    assert not rehearsal._fits(Root(str(pi.root)), pi.slot, "one")


def test_it_gets_copies_a_network_of_its_own_and_goes_first_when_memory_ends(pi: Stand) -> None:
    (pi.root / "data/one").mkdir(mode=0o750)
    (pi.root / "etc/localtime").parent.mkdir()
    (pi.root / "etc/localtime").write_text("UTC")
    (pi.root / "data/read").mkdir()
    whole = config(
        mounts=[
            *CONFINED["mounts"],  # type: ignore[misc]
            bind("/etc/localtime", "ro"), bind("/data/one", "rw", "rbind", "rshared"),
            bind("/data/read", "ro"),
        ],
        linux__namespaces=[{"type": "pid"}, {"type": "mount"}],
    )  # fmt: skip
    whole["hooks"] = {
        "createContainer": [{"path": "/usr/bin/busybox"}],
        "createRuntime": [{"path": "/usr/lib/piimage/bridge"}],
    }
    place = pi.root / "run/piimage/layers" / pi.slot / "services/one/config.json"
    place.write_text(json.dumps(whole))
    root = Root(str(pi.root))
    assert rehearsal._fits(root, pi.slot, "one")
    assert rehearsal._rehearsed(root, pi.slot, "one", 5) == ""
    tried = json.loads((pi.root / "rehearsed").read_text().partition(" ")[2])
    sysfs, localtime, data, read = tried["mounts"]
    assert sysfs["options"] == ["ro"]
    assert localtime["source"] == "/etc/localtime"
    assert data["source"] == "/run/piimage/rehearsal/one/scratch/0/merged"
    assert data["options"] == ["rbind", "rprivate"]
    assert read["source"] == "/run/piimage/rehearsal/one/scratch/1/merged"
    assert read["options"] == ["rbind", "rprivate", "ro"]
    kinds = {namespace["type"] for namespace in tried["linux"]["namespaces"]}
    assert kinds == {"pid", "mount", "network", "ipc", "uts"}
    assert tried["linux"]["cgroupsPath"] == "/piimage/rehearsal/one"
    assert tried["root"]["path"] == "/run/piimage/rootfs/rehearsal/one"
    assert tried["hooks"] == {}  # for the root and the network of the service itself
    assert tried["process"]["oomScoreAdj"] == 1000


def test_a_service_with_secrets_is_tried_with_a_copy_of_its_own(tmp_path: Path) -> None:
    source = "/run/piimage/secrets/services/one"
    mount = {
        "destination": "/run/secrets", "type": "bind", "source": source,
        "options": ["bind", "ro", "nosuid", "nodev", "noexec"],
    }  # fmt: skip
    whole = config(mounts=[mount])
    folder = tmp_path / "run/piimage/layers/aaa/services/one"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(whole))
    root = Root(str(tmp_path))
    assert rehearsal._fits(root, "aaa", "one")
    assert list(rehearsal._confine(root, whole, "one")) == []
    assert whole["mounts"] == [{**mount, "source": "/run/piimage/secrets/rehearsal/one"}]
