"""Python and git run nothing that lies in the working folder or in a checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from piimage.flash import elevate
from piimage.launch import Git, python_file, python_module
from piimage.pkg.tag import content_hash
from piimage.python import index
from piimage.run import Runner, clean_environment

ROOT = Path(__file__).parents[2]
SPRUNG = "sprung"


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with modules of the names that piimage starts, and of Python's own."""
    trap = f"open({str(tmp_path / SPRUNG)!r}, 'a').close()\n"
    for name in ("piimage", "piimage/flash", "pip", "socket"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(trap)
    for name in ("piimage/flash/opener", "pip/__main__", "sitecustomize", "usercustomize", "os"):
        (tmp_path / f"{name}.py").write_text(trap)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_modules_of_the_working_folder_are_a_trap_that_works(hostile: Path) -> None:
    """What the other tests rest on."""
    subprocess.run([sys.executable, "-m", "pip", "config", "list"], check=True)
    assert (hostile / SPRUNG).exists()


def test_pip_is_the_installed_one(hostile: Path) -> None:
    index.choose(None, Runner(), {})
    assert Runner().run(python_module("pip", "--version")).text.startswith("pip ")
    assert not (hostile / SPRUNG).exists()


def test_what_sudo_starts_is_piimages_own(hostile: Path) -> None:
    sudo = hostile / "bin/sudo"
    sudo.parent.mkdir()
    sudo.write_text('#!/bin/sh\nshift\nexec "$@"\n')
    sudo.chmod(0o755)
    (hostile / "card").write_bytes(bytes(4096))
    runner = Runner().with_environment(PATH=f"{sudo.parent}:/usr/bin:/bin")
    os.close(elevate.open_by_sudo(runner, str(hostile / "card")))
    assert not (hostile / SPRUNG).exists()


def test_what_needs_no_package_sees_none_and_no_variable(hostile: Path) -> None:
    file = hostile / "program.py"
    file.write_text("import sys; print(*sys.path, sep='\\n')")
    runner = Runner().with_environment(PYTHONPATH=str(hostile), PYTHONSTARTUP=str(file))
    seen = runner.run(python_file(file)).text.splitlines()
    assert not [path for path in seen if "site-packages" in path or path.startswith(str(hostile))]
    assert not (hostile / SPRUNG).exists()


def test_programs_are_not_looked_for_in_the_working_folder(
    hostile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (hostile / "zstd").write_text(f"#!/bin/sh\ntouch {hostile / SPRUNG}\n")
    (hostile / "zstd").chmod(0o755)
    environment = clean_environment({"PATH": ".::bin:/usr/bin"})
    Runner(environment=environment).run(["zstd", "--version"])
    assert not (hostile / SPRUNG).exists()
    assert environment["PATH"].split(":")[0] == "/usr/bin"


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with a changed file that a filter is asked for, and a submodule alike."""
    top = tmp_path_factory.mktemp("committed")
    for folder in (top / "app/sub", top / "app"):
        folder.mkdir(exist_ok=True, parents=True)
        _git(folder, "init", "-q")
        (folder / "main.py").write_text("one\n")
        (folder / ".gitattributes").write_text("*.py filter=a=b diff=x\n")
        _git(folder, "add", "main.py", ".gitattributes", *(["sub"] if folder.name == "app" else []))
        _git(folder, "commit", "-q", "-m", "first")
        (folder / "main.py").write_text("two\n")
    return top / "app"


@pytest.fixture
def checkout(committed: Path, tmp_path: Path) -> Path:
    return shutil.copytree(committed, tmp_path / "app")


def _git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    identity += ["-c", "advice.addEmbeddedRepo=false"]
    env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, env=env)


# The keys of git-config(1) by which a program is started while a state is read.
PROGRAMS = (
    "core.fsmonitor", "core.hooksPath", "filter.a=b.clean", "filter.a=b.process",
    "filter.a=b.smudge", "core.sshCommand", "core.pager", "diff.x.textconv", "diff.x.command",
    "diff.external", "core.gitProxy", "core.askPass", "core.editor", "gpg.program",
    "credential.helper", "core.alternateRefsCommand", "status.x",
)  # fmt: skip


@pytest.mark.parametrize("key", PROGRAMS)
def test_a_checkouts_settings_start_no_program(checkout: Path, runner: Runner, key: str) -> None:
    trap = checkout.parent / "trap"
    hooks = checkout.parent / "hooks"
    hooks.mkdir()
    for file in (trap, hooks / "post-index-change", hooks / "query-watchman"):
        file.write_text(f"#!/bin/sh\ntouch {checkout.parent / SPRUNG}\ncat\n")
        file.chmod(0o755)
    for folder in (checkout, checkout / "sub"):
        _git(folder, "config", key, str(hooks if key == "core.hooksPath" else trap))
        _git(folder, "config", "filter.a=b.required", "true")
    assert "-dirty-" in content_hash(runner, [checkout])
    assert not (checkout.parent / SPRUNG).exists()


def test_settings_of_one_worktree_are_the_checkouts_too(checkout: Path, runner: Runner) -> None:
    trap = checkout.parent / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {checkout.parent / SPRUNG}\ncat\n")
    trap.chmod(0o755)
    _git(checkout, "config", "extensions.worktreeConfig", "true")
    _git(checkout, "config", "--worktree", "filter.a=b.clean", str(trap))
    content_hash(runner, [checkout])
    assert not (checkout.parent / SPRUNG).exists()


def test_a_missing_object_is_not_fetched(checkout: Path, runner: Runner) -> None:
    """A partial clone names where the rest is to be had, and that may be a program's output."""
    trap = f"ext::sh -c touch% {checkout.parent / SPRUNG}"
    for key, value in (
        ("remote.origin.url", trap), ("remote.origin.promisor", "true"),
        ("extensions.partialClone", "origin"), ("protocol.ext.allow", "always"),
    ):  # fmt: skip
        _git(checkout, "config", key, value)
    tree = subprocess.check_output(["git", "rev-parse", "HEAD^{tree}"], cwd=checkout, text=True)
    (checkout / ".git/objects" / tree[:2] / tree[2:].strip()).unlink()
    Git(runner, checkout).run(["status", "--porcelain"], accept=range(256))
    assert not (checkout.parent / SPRUNG).exists()


def test_the_users_own_filter_of_a_name_stands(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """git-lfs is such a one: without it every file of its would count as changed."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text('[filter "a=b"]\n\tclean = sed s/two/one/\n')
    _git(checkout, "config", "filter.a=b.clean", "false")
    runner = Runner(environment={**clean_environment(), "HOME": str(home)})
    status = Git(runner, checkout).run(["status", "--porcelain", "--ignore-submodules=dirty"])
    assert status.text == ""


def test_a_changed_submodule_counts(checkout: Path, runner: Runner) -> None:
    (checkout / "main.py").write_text("one\n")
    first = content_hash(runner, [checkout])
    (checkout / "sub/main.py").write_text("three\n")
    other = content_hash(runner, [checkout])
    assert "-dirty-" in first
    assert first != other
    (checkout / "sub/main.py").write_text("one\n")
    assert "-dirty-" not in content_hash(runner, [checkout])
