"""What the agent keeps, gives back and leaves behind: generations, layers, runs."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from piimage_agent import change, generations
from piimage_agent.layers import incoming_layer
from piimage_agent.refusal import Refused
from piimage_agent.root import Root

from tests.unit.deploy.stand_in import AGENT, Stand, containers, layer, sha256

DATA = b"hsqs" + bytes(1000)
DIGEST = hashlib.sha256(DATA).hexdigest()
MARGIN = 16 << 20


@pytest.fixture
def pi(tmp_path: Path) -> Stand:
    return Stand(tmp_path / "pi", one="1")


@pytest.fixture
def root(pi: Stand) -> Root:
    (pi.root / "data/piimage/layers").mkdir()
    return Root(str(pi.root))


def deployed(pi: Stand, root: Root, version: str, *, good: bool = True) -> str:
    """Write a generation as a deploy does, with its containers layer; return its name."""
    top = layer(containers(one=version))
    own = layer({"version": version, "of": "one"})
    for content in (top, own):
        (pi.root / f"data/piimage/layers/{sha256(content)}.squashfs").write_bytes(content)
    name = generations.create(root, sha256(top), [sha256(own)], "note")
    if good:
        (Path(root.generations) / name / "good").touch()
    return name


def link(root: Root, name: str, generation: str) -> None:
    path = Path(root.store) / f"{name}.{generations.slot_containers(root)}"
    path.unlink(missing_ok=True)
    path.symlink_to(f"generations/{generation}")


def run(pi: Stand, root: Root, generation: str) -> None:
    """Have a generation's containers in use."""
    path = pi.root / "run/piimage/containers"
    path.unlink()
    path.symlink_to(f"layers/{generations.containers_of(root, generation)}")


class TestRollback:
    def test_it_leads_to_the_good_one_before(self, pi: Stand, root: Root) -> None:
        old, new = deployed(pi, root, "2"), deployed(pi, root, "3")
        link(root, "previous", old)
        run(pi, root, new)
        assert generations.before(root) == old

    def test_it_never_leads_to_what_was_not_good(self, pi: Stand, root: Root) -> None:
        old, new = deployed(pi, root, "2", good=False), deployed(pi, root, "3")
        link(root, "previous", old)
        run(pi, root, new)
        assert generations.before(root) == "slot"

    def test_it_never_leads_to_what_was_made_for_another_slot(self, pi: Stand, root: Root) -> None:
        old, new = deployed(pi, root, "2"), deployed(pi, root, "3")
        (Path(root.generations) / old / "base").write_text("e" * 64 + "\n")
        link(root, "previous", old)
        run(pi, root, new)
        assert generations.before(root) == "slot"

    def test_it_never_leads_to_what_is_not_there_any_more(self, pi: Stand, root: Root) -> None:
        old, new = deployed(pi, root, "2"), deployed(pi, root, "3")
        link(root, "previous", old)
        run(pi, root, new)
        gone = sha256(layer({"version": "2", "of": "one"}))
        (Path(root.layers) / f"{gone}.squashfs").unlink()
        assert generations.before(root) == "slot"

    def test_it_leads_nowhere_where_the_slot_s_own_run_or_none_are_known(
        self, pi: Stand, root: Root
    ) -> None:
        assert generations.before(root) == ""
        run(pi, root, deployed(pi, root, "2"))
        assert generations.before(root) == "slot"
        (pi.root / "run/piimage/boot").write_text("")
        assert generations.before(root) == ""


class TestCollection:
    def test_what_runs_stays_although_no_link_leads_to_it(self, pi: Stand, root: Root) -> None:
        """So it is between a switch and the moment in which it is kept."""
        kept, runs, neither = (deployed(pi, root, version) for version in "234")
        link(root, "current", kept)
        run(pi, root, runs)
        assert generations.collect(root)[0] == 2
        assert {path.name for path in Path(root.generations).iterdir()} == {kept, runs}
        assert neither not in (kept, runs)
        own = [sha256(layer({"version": version, "of": "one"})) for version in "234"]
        present = {path.name.partition(".")[0] for path in Path(root.layers).iterdir()}
        assert (own[0] in present, own[1] in present, own[2] in present) == (True, True, False)


class TestLayer:
    def test_a_part_that_is_longer_than_the_layer_counts_for_nothing(self, root: Root) -> None:
        Path(root.layers, f"{DIGEST}.part").write_bytes(b"?" * 2000)
        incoming = incoming_layer(root, DIGEST, len(DATA))
        assert incoming.offset == 0
        incoming.add(DATA)
        incoming.finish()
        assert Path(root.layers, f"{DIGEST}.squashfs").read_bytes() == DATA

    @pytest.mark.parametrize(("short", "fits"), [(0, True), (1, False)])
    def test_only_what_is_still_to_come_needs_room(
        self, root: Root, monkeypatch: pytest.MonkeyPatch, short: int, fits: bool
    ) -> None:
        Path(root.layers, f"{DIGEST}.part").write_bytes(DATA[:400])
        free = SimpleNamespace(f_bavail=len(DATA) - 400 + MARGIN - short, f_frsize=1)
        monkeypatch.setattr("piimage_agent.layers.os.statvfs", lambda path: free)
        if fits:
            incoming_layer(root, DIGEST, len(DATA)).close()
            return
        with pytest.raises(Refused, match="does not fit"):
            incoming_layer(root, DIGEST, len(DATA))

    def test_its_bytes_last_before_its_name_and_its_name_before_the_answer(
        self, root: Root, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done: list[str] = []
        fsync, rename = os.fsync, os.rename

        def noted_fsync(fd: int) -> None:
            done.append(f"fsync {Path(f'/proc/self/fd/{fd}').readlink().name}")
            fsync(fd)

        def noted_rename(old: str, new: str) -> None:
            done.append(f"rename {Path(new).name}")
            rename(old, new)

        incoming = incoming_layer(root, DIGEST, len(DATA))
        incoming.add(DATA)
        monkeypatch.setattr(os, "fsync", noted_fsync)
        monkeypatch.setattr(os, "rename", noted_rename)
        incoming.finish()
        assert done == [f"fsync {DIGEST}.part", f"rename {DIGEST}.squashfs", "fsync layers"]


class TestChange:
    def test_an_undone_change_leaves_both_links_as_they_were(self, pi: Stand, root: Root) -> None:
        first, second, third = (deployed(pi, root, version) for version in "234")
        link(root, "previous", first)
        link(root, "current", second)
        run(pi, root, second)
        folder = Path(root.runs) / "1"
        folder.mkdir(parents=True)
        made = change.Rollback(root, str(folder), third, 1)
        # Cut off when the links had moved.
        link(root, "previous", second)
        link(root, "current", third)
        assert made._undone() == ""
        assert generations.linked(root, "current") == second
        assert generations.linked(root, "previous") == first

    def test_the_last_eight_runs_can_still_be_asked_for(self, root: Root) -> None:
        for number in range(1, 12):
            (Path(root.runs) / str(number)).mkdir(parents=True)
        assert change._new_run(root) == "12"
        left = sorted(int(path.name) for path in Path(root.runs).iterdir())
        assert left == [4, 5, 6, 7, 8, 9, 10, 11, 12]

    @pytest.mark.parametrize("name", ["SIGHUP", "SIGINT", "SIGTERM", "SIGPIPE"])
    def test_the_end_of_the_session_does_not_end_it(self, tmp_path: Path, name: str) -> None:
        lock = tmp_path / "lock"
        program = (
            "import os, signal, sys; from piimage_agent import change;"
            "lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600); change._alone(lock);"
            f"os.kill(os.getpid(), signal.{name}); os.write(lock, b'alive')"
        )
        command = [sys.executable, "-c", program, lock]
        done = subprocess.run(command, env={"PYTHONPATH": str(AGENT)}, check=False, timeout=60)
        assert (done.returncode, lock.read_text()) == (0, "alive"), signal.Signals[name]
