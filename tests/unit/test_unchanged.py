"""What lets a build be left out: every kind of input, for every kind of place for the outputs."""

from __future__ import annotations

import functools
import json
import os
import shutil
import sys
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
from piimage.errors import PiimageError
from piimage.lock import Lock
from piimage.locking.appliance import lock_path
from piimage.locking.current import existing_lock, write_lock
from piimage.locking.dockerfiles import content_key
from piimage.plan.containers import plan_containers
from piimage.plan.system import plan_system
from piimage.run import Runner
from piimage.store import Store
from piimage.unchanged import Memory, own_state

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
  - { name: own, build: own, seccomp: seccomp.json, apparmor: ./apparmor }
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

    def remembered(self) -> str | None:
        return self.memory().unchanged(self.environment)


def new_project(tmp_path: Path, out: str = "out") -> Project:
    folder = tmp_path / "project"
    for name in ("outdoor", "own/tree/deep", "docker", "module", "boards", "bin", "late"):
        (folder / name).mkdir(parents=True)
    shutil.copy(resources.path("boards") / "qemu-virt.yml", folder / "boards" / "mine.yml")
    write = {
        "base.yml": "onboot: []\n", "pi.yml": YAML, "outdoor/motd": "hello\n", "one": "1\n",
        "two": "2\n", "apparmor": "profile own {\n}\n",
        "seccomp.json": '{"defaultAction": "SCMP_ACT_ALLOW"}\n',
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
    "AppArmor profile": rewrite("apparmor", "profile own {\n  file,\n}\n"),
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
    "outdoor": (  # what lies in that folder, and what lies in none of the outputs' folders
        "YAML", "lock", "file's source", "same size and time", "source gone", "mode", "output",
        "output gone",
    ),
    "own/tree": ("YAML", "mode", "folder comes"),
    "../through": ("YAML", "board", "file's source", "output"),
    "../elsewhere": ("YAML", "lock", "same size and time", "output gone"),
    "boards": ("board", "YAML", "output gone"),
}  # fmt: skip
"""Folders for the outputs, as seen from the project's, and what is changed for each."""


@pytest.fixture
def _code_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what is looked at once of piimage's own code: it is no input that a case changes."""
    monkeypatch.setattr("piimage.unchanged.own_state", OWN_STATE)


@pytest.mark.slow
@pytest.mark.usefixtures("_code_that_stays")
@pytest.mark.parametrize(
    ("place", "change"), [(place, change) for place, changes in OUTS.items() for change in changes]
)
def test_a_change_of_any_input_is_noticed(tmp_path: Path, place: str, change: str) -> None:
    project = new_project(tmp_path, place)
    project.build()
    time.sleep(TICK)
    # Where outputs lie among a container's files or the boards, each build changes an input.
    assert project.remembered() == (None if place in ("own/tree", "boards") else "done")
    CHANGES[change](project)
    assert project.remembered() is None


@pytest.mark.slow
@pytest.mark.parametrize("place", ["out", ".", "outdoor"])
def test_what_is_no_input_may_change(tmp_path: Path, place: str) -> None:
    project = new_project(tmp_path, place)
    project.build()
    time.sleep(TICK)
    project.environment["OTHER"] = "y"
    (project.folder / "notes").write_text("")
    (project.out / "pi.img.swp").write_text("")
    assert project.remembered() == "done"


def test_nothing_is_known_at_first(tmp_path: Path) -> None:
    assert new_project(tmp_path).remembered() is None


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
    assert project.remembered() is None


@pytest.mark.parametrize(
    "folder", ["boards", "appliance", "bases", "libraries", "services", "kernel-modules"]
)
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
    assert project.remembered() is None


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
    assert project.remembered() == "done"
    module.write_text("x = 1\n")
    assert project.remembered() is None


def test_a_damaged_memory_is_no_memory(tmp_path: Path) -> None:
    project = new_project(tmp_path)
    project.build()
    for file in (project.store.root / "built").iterdir():
        file.write_text("[]")
    assert project.remembered() is None


def test_variables_are_sought_in_yaml_alone(tmp_path: Path) -> None:
    names = {"a.yml": "ONE", "b.yaml": "TWO", "c.txt": "THREE", "d.yml.orig": "FOUR"}
    for name, word in names.items():
        (tmp_path / name).write_text(f"x: ${{{word}}}-9z")
    (tmp_path / "pi").write_text("FIVE")
    (tmp_path / "e.yml").mkdir()
    memory = Memory(Store(tmp_path / "store"), (tmp_path / "pi",), tmp_path, ())
    paths = [str(tmp_path / name) for name in (*names, "e.yml", "gone.yml")]
    found = memory._names(paths)
    assert found >= {"ONE", "TWO", "FIVE", "HOME", "DOCKER_HOST", "x", "z"}
    assert not found & {"THREE", "FOUR", "9z"}


def test_a_full_disk_does_not_fail_a_build_that_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = new_project(tmp_path)

    def full(*_: object) -> None:
        raise PiimageError("store.full", "full")

    monkeypatch.setattr(Store, "write_beside", full)
    memory = project.memory()
    memory.remember(memory.witness(), [], "done", {})
    assert project.remembered() is None


def test_a_build_that_cannot_be_known_again_forgets_the_last_one(tmp_path: Path) -> None:
    project = new_project(tmp_path)
    project.build()
    memory = project.memory()
    witness = memory.witness()
    with witness.watching():
        Path("/proc/version").read_bytes()
    memory.remember(witness, [], "done", {})
    assert project.remembered() is None


def test_another_python_is_another_piimage_and_compiled_files_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "path", lambda shipped: tmp_path / shipped)
    before = own_state()
    (tmp_path / "boards" / "__pycache__").mkdir(parents=True)
    (tmp_path / "boards" / "__pycache__" / "x.pyc").write_text("")
    assert own_state() == before
    monkeypatch.setattr(sys, "version", "4")
    assert own_state() != before
