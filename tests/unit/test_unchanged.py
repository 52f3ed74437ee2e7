"""What lets a build be left out: every kind of input, for every kind of place for the outputs."""

from __future__ import annotations

import functools
import importlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import pytest

from piimage import packers, resources
from piimage.boards import load_board
from piimage.config.load import load
from piimage.config.module_folder import module_folder
from piimage.durable import write_chunks
from piimage.lock import Lock
from piimage.locking.appliance import lock_path
from piimage.locking.current import existing_lock, write_lock
from piimage.locking.dockerfiles import content_key
from piimage.plan.containers import plan_containers
from piimage.plan.system import plan_system
from piimage.run import Runner
from piimage.store import Store
from piimage.unchanged import Memory, Witness, own_state

from .plan.locks import lock_of

TICK = 0.025  # seconds: longer than a tick of any kernel's clock, and than what counts as one
YAML = """
variables: [NAME]
board: mine
hostname: ${NAME}
files:
  - { path: etc/motd, source: outdoor/motd }
  - { path: etc/linked, source: link }
  - { path: etc/later, source: later, optional: true }
  - { path: etc/hosts.copy, source: /etc/hosts }
services:
  - { name: own, build: own, seccomp: seccomp.json }
"""


@dataclass(frozen=True)
class Project:
    """A folder with an input of every kind, and where its outputs and its store are."""

    folder: Path
    out: Path
    store: Store
    environment: dict[str, str]

    def memory(self, *options: str) -> Memory:
        names = ("base.yml", "pi.yml")
        files = tuple(self.folder / name for name in names)
        return Memory(self.store, files, self.out, options)

    def build(self) -> None:
        """Read as a build does, by what a build reads with, and write what is no image."""
        memory = self.memory()
        witness = memory.witness()
        packers.identity.cache_clear()  # each build is a process of its own
        with witness.watching():
            appliance = load(list(memory.files), (), self.environment)
            board = load_board(appliance.board, [self.folder / "boards"])
            existing_lock(lock_path(memory.files))
            lock = lock_of(appliance, board)
            layers = plan_system(appliance, board, lock, {}).layers
            for layer in (*layers, *plan_containers(appliance, lock, {}).containers[0].layers):
                assert layer.key
            content_key(self.folder / "docker", {})
            module_folder(self.folder / "module").sources()
            Runner(environment={"PATH": self.environment["PATH"]}).run(["true"])
            self.out.mkdir(exist_ok=True)
            image = write_chunks(self.out / "pi.img", [b"image"])
            memory.remember(witness, [image], "done", self.environment)

    def said(self) -> str | None:
        return self.memory().unchanged(self.environment)


def new_project(tmp_path: Path, out: str = "out") -> Project:
    folder = tmp_path / "project"
    for name in ("outdoor", "own/tree/deep", "docker", "module", "boards", "bin", "late"):
        (folder / name).mkdir(parents=True)
    shutil.copy(resources.path("boards") / "qemu-virt.yml", folder / "boards" / "mine.yml")
    write = {
        "base.yml": "onboot: []\n", "pi.yml": YAML, "outdoor/motd": "hello\n", "one": "1\n",
        "two": "2\n", "seccomp.json": '{"defaultAction": "SCMP_ACT_ALLOW"}\n',
        "own/service.yml": "name: own\nentrypoint: [/bin/x]\nfiles:\n"
        "  - { path: opt, source: tree }\n", "own/tree/deep/file": "x\n",
        "docker/Dockerfile": "FROM scratch\n", "docker/data": "x\n",
        "module/module.yml": "name: m\ndescription: m\nlicense: GPL-2.0-only\n",
        "module/Kbuild": "obj-m := m.o\n",
    }  # fmt: skip
    for name, text in write.items():
        (folder / name).write_text(text)
    (folder / "link").symlink_to("one")
    (folder / "docker" / "link").symlink_to("data")
    shutil.copy("/bin/true", folder / "bin" / "true")
    write_lock(Lock(), folder / "pi.lock")
    (tmp_path / "through").symlink_to("project")
    environment = {"NAME": "a", "PATH": f"{folder}/late:{folder}/bin", "OTHER": "x"}
    time.sleep(TICK)
    return Project(folder, folder / out, Store(tmp_path), environment)


def rewrite(name: str, text: str) -> Callable[[Project], None]:
    def change(project: Project) -> None:
        (project.folder / name).write_text(text)

    return change


def keep_size_and_time(project: Project) -> None:
    """Change a file as `cp -p` or a version control that restores times may."""
    path = project.folder / "outdoor" / "motd"
    before = path.stat()
    path.write_text("olleh\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def retarget(name: str, target: str) -> Callable[[Project], None]:
    def change(project: Project) -> None:
        (project.folder / name).unlink()
        (project.folder / name).symlink_to(target)

    return change


def variable(project: Project) -> None:
    project.environment["NAME"] = "b"


def no_variable(project: Project) -> None:
    del project.environment["NAME"]


def new_variable(project: Project) -> None:
    project.environment["PIIMAGE_BOARDS"] = str(project.folder / "late")


def other_path(project: Project) -> None:
    project.environment["PATH"] = f"{project.folder}/bin"


CHANGES: Mapping[str, Callable[[Project], None]] = {
    "YAML": rewrite("pi.yml", YAML + "# more\n"),
    "merged file": rewrite("base.yml", "services: []\n"),
    "variable": variable,
    "variable gone": no_variable,
    "setting of piimage": new_variable,
    "lock": rewrite("pi.lock", "{}"),
    "lock gone": lambda project: (project.folder / "pi.lock").unlink(),
    "board": lambda project: os.utime(project.folder / "boards" / "mine.yml"),
    "another board": rewrite("boards/other.yml", ""),
    "file's source": rewrite("outdoor/motd", "other\n"),
    "same size and time": keep_size_and_time,
    "source gone": lambda project: (project.folder / "outdoor" / "motd").unlink(),
    "optional source comes": rewrite("later", "x"),
    "link leads elsewhere": retarget("link", "two"),
    "folder comes": lambda project: (project.folder / "own" / "tree" / "more").mkdir(),
    "file comes in a folder": rewrite("own/tree/deep/more", ""),
    "mode": lambda project: (project.folder / "own" / "tree" / "deep" / "file").chmod(0o755),
    "service.yml": rewrite("own/service.yml", "name: own\nentrypoint: [/bin/y]\n"),
    "seccomp profile": rewrite("seccomp.json", '{"defaultAction": "SCMP_ACT_LOG"}\n'),
    "Dockerfile": rewrite("docker/Dockerfile", "FROM scratch\n\n"),
    "context's link": retarget("docker/link", "Dockerfile"),
    "module's source": rewrite("module/Kbuild", "obj-m += m.o\n"),
    "module's new source": rewrite("module/m.c", ""),
    "host program": lambda project: os.utime(project.folder / "bin" / "true"),
    "host program before it": lambda project: (project.folder / "late" / "true").symlink_to(
        "/bin/true"
    ),
    "PATH": other_path,
    "output": lambda project: os.utime(project.out / "pi.img"),
    "output gone": lambda project: (project.out / "pi.img").unlink(),
}  # fmt: skip
OWN_STATE = functools.cache(own_state)
OUTS = {
    "out": CHANGES,  # also the beginning of an input's name
    ".": CHANGES,
    "outdoor": CHANGES,
    "own/tree": ("YAML", "mode", "folder comes"),
    "../through": ("YAML", "board", "file's source", "output"),
    "../elsewhere": ("YAML", "lock", "same size and time", "output gone"),
    "boards": ("board", "YAML", "output gone"),
}
"""Folders for the outputs, as seen from the project's, and what is changed for each."""


@pytest.fixture
def _code_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what is looked at once of piimage's own code: it is no input that a case changes."""
    monkeypatch.setattr("piimage.unchanged.own_state", OWN_STATE)


@pytest.mark.usefixtures("_code_that_stays")
@pytest.mark.parametrize(
    ("place", "change"), [(place, change) for place, changes in OUTS.items() for change in changes]
)
def test_a_change_of_any_input_is_noticed(tmp_path: Path, place: str, change: str) -> None:
    project = new_project(tmp_path, place)
    project.build()
    time.sleep(TICK)
    # Where outputs lie among a container's files or the boards, each build changes an input.
    assert project.said() == (None if place in ("own/tree", "boards") else "done")
    CHANGES[change](project)
    assert project.said() is None


@pytest.mark.parametrize("place", ["out", ".", "outdoor"])
def test_what_is_no_input_may_change(tmp_path: Path, place: str) -> None:
    project = new_project(tmp_path, place)
    project.build()
    time.sleep(TICK)
    project.environment["OTHER"] = "y"
    (project.folder / "notes").write_text("")
    (project.out / "pi.img.swp").write_text("")
    assert project.said() == "done"


def test_nothing_is_known_at_first(tmp_path: Path) -> None:
    assert new_project(tmp_path).said() is None


def test_other_options_are_another_build(tmp_path: Path) -> None:
    project = new_project(tmp_path)
    project.build()
    assert project.memory("tar").unchanged(project.environment) is None


def test_another_working_folder_is_another_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = new_project(tmp_path)
    project.build()
    monkeypatch.chdir(project.folder)
    assert project.said() is None


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Memory(Store(tmp_path / "store"), (), tmp_path, ()).witness()


def test_no_path_is_left_out_for_where_it_lies(witness: Witness) -> None:
    with witness.watching():
        Path("/etc/hosts").read_bytes()
        Path("/run").exists()
        Path(pytest.__file__).read_bytes()
    seen = witness.inputs()
    assert seen is not None
    assert seen.keys() >= {
        ("look", "/etc/hosts"), ("look", "/run"), ("look", pytest.__file__)
    }  # fmt: skip


@pytest.mark.parametrize("listing", [os.listdir, lambda path: [*os.scandir(path)]])
def test_the_list_of_a_folder_is_an_input(
    witness: Witness, tmp_path: Path, listing: Callable[[Path], object]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    time.sleep(TICK)
    with witness.watching():
        listing(folder)
    seen = witness.inputs()
    assert seen is not None
    assert ("list", str(folder)) in seen


def test_code_counts_by_the_modules_and_not_by_what_the_import_looked_at(
    witness: Witness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import looks through many folders, and reads and writes compiled files."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "a_module_that_is_imported", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module = tmp_path / "a_module_that_is_imported.py"
    module.write_text("")
    time.sleep(TICK)
    with witness.watching():
        importlib.import_module(module.stem)
    seen = witness.inputs()
    assert seen is not None
    assert ("look", str(module)) not in seen
    assert ("list", str(tmp_path)) not in seen


@pytest.mark.parametrize("path", ["/proc/version", "/dev/zero"])
def test_what_has_no_state_is_never_the_same(witness: Witness, tmp_path: Path, path: str) -> None:
    link = tmp_path / "link"
    link.symlink_to(path)
    with witness.watching(), link.open("rb") as file:
        file.read(1)
    assert witness.inputs() is None


def test_an_input_that_changed_during_the_build_is_not_forgotten(
    witness: Witness, tmp_path: Path
) -> None:
    path = tmp_path / "input"
    path.write_text("x")
    time.sleep(TICK)
    with witness.watching():
        path.read_bytes()
        os.close(os.open(path, os.O_RDONLY))
    path.chmod(0o600)
    assert witness.inputs() is None


@pytest.mark.parametrize(("later", "known"), [(19_999_999, False), (20_000_000, True)])
def test_an_input_so_new_that_its_times_may_hide_a_change_is_not_believed(
    witness: Witness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: int, known: bool
) -> None:
    path = tmp_path / "input"
    path.write_text("x")
    changed = path.stat().st_ctime_ns
    monkeypatch.setattr(time, "time_ns", lambda: changed + later)
    with witness.watching():
        path.read_bytes()
    assert (witness.inputs() is not None) is known


def test_what_a_build_made_for_itself_is_no_input(witness: Witness, tmp_path: Path) -> None:
    with witness.watching():
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            (Path(folder) / "draft").write_text("x")
            assert (Path(folder) / "draft").exists()
        (tmp_path / "kept").write_text("x")
        (tmp_path / "kept").read_text()
    seen = witness.inputs()
    assert seen is not None
    assert not [path for _, path in seen if path.startswith(folder)]
    assert ("look", str(tmp_path / "kept")) in seen


def test_what_a_build_made_and_another_changed_meanwhile_is_not_the_same(
    witness: Witness, tmp_path: Path
) -> None:
    lock = tmp_path / "pi.lock"
    with witness.watching():
        write_lock(Lock(), lock)
        lock.exists()
        time.sleep(TICK)
    lock.write_text("edited")
    assert witness.inputs() is None


def test_what_the_store_keeps_is_no_input(witness: Witness, tmp_path: Path) -> None:
    """Its folders (store.py) and what makes it an OCI layout (image-layout.md); all else counts."""
    store = tmp_path / "store"
    kept = ["blobs/x", "memo/x", "tmp/x", "locks/x", "trees/x", "built/x"]
    for name in (*kept, "index.json", "oci-layout", "built.yml"):
        (store / name).parent.mkdir(exist_ok=True)
        (store / name).write_text("x")
    time.sleep(TICK)
    with witness.watching():
        for name in (*kept, "index.json", "oci-layout", "built.yml"):
            (store / name).read_text()
    seen = witness.inputs()
    assert seen is not None
    assert [path for _, path in seen if path.startswith(f"{store}/")] == [f"{store}/built.yml"]


@pytest.mark.parametrize("folder", ["boards", "appliance", "services", "kernel-modules"])
@pytest.mark.parametrize("name", ["x.yml", "deep/x.yml"])
def test_another_state_of_what_piimage_ships_is_another_piimage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, name: str
) -> None:
    """The folders that pyproject.toml puts into the wheel."""
    monkeypatch.setattr(resources, "path", lambda shipped: tmp_path / shipped)
    path = tmp_path / folder / name
    path.parent.mkdir(parents=True)
    before = own_state()
    path.write_text("x")
    with_file = own_state()
    path.chmod(0o600)
    assert len({before, with_file, own_state()}) == 3


def test_a_store_in_the_projects_own_folder_hides_no_input(tmp_path: Path) -> None:
    project = new_project(tmp_path)
    source = project.folder / "trees" / "motd"
    source.parent.mkdir()
    source.write_text("a")
    (project.folder / "pi.yml").write_text(YAML.replace("outdoor/motd", "trees/motd"))
    project.folder.chmod(0o700)
    project = replace(project, store=Store(project.folder))
    time.sleep(TICK)
    project.build()
    time.sleep(TICK)
    source.write_text("b")
    assert project.said() is None


def test_code_and_libraries_that_the_build_ran_with_are_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = new_project(tmp_path)
    module = tmp_path / "library.py"
    module.write_text("")
    loaded = ModuleType("library_of_this_test")
    loaded.__file__ = str(module)
    monkeypatch.setitem(sys.modules, loaded.__name__, loaded)
    time.sleep(TICK)
    project.build()
    (file,) = (project.store.root / "built").iterdir()
    assert "/etc/ld.so.cache" in json.loads(file.read_text())["inputs"]["look"]
    assert project.said() == "done"
    module.write_text("x = 1\n")
    assert project.said() is None


@pytest.mark.parametrize("put", [os.rename, os.link, lambda old, new: new.symlink_to(old)])
def test_what_a_build_put_in_place_and_another_changed_meanwhile_is_not_the_same(
    witness: Witness, tmp_path: Path, put: Callable[[Path, Path], None]
) -> None:
    draft, kept = tmp_path / "draft", tmp_path / "kept"
    draft.write_text("x")
    with witness.watching():
        put(draft, kept)
        Path("/etc/hosts").exists()  # what was made is noted before anything else is looked at
        time.sleep(TICK)
    kept.write_text("edited")
    assert witness.inputs() is None


def test_a_damaged_memory_is_no_memory(tmp_path: Path) -> None:
    project = new_project(tmp_path)
    project.build()
    for file in (project.store.root / "built").iterdir():
        file.write_text("[]")
    assert project.said() is None
