"""Tags of container folders, against git's own words."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from piimage.errors import PiimageError
from piimage.pkg.tag import content_hash
from piimage.run import Runner, clean_environment


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=m"]
    done = subprocess.run(
        ["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True,
        env={**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"},
    )  # fmt: skip
    return done.stdout.strip()


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with the folder `app` and, outside of it, `shared`."""
    top = tmp_path_factory.mktemp("committed")
    for name in ("app", "shared"):
        (top / name).mkdir()
        (top / name / "main.py").write_text(f"{name}\n")
    (top / ".gitignore").write_text("*.tmp\n")
    git(top, "init", "-q")
    git(top, "add", ".")
    git(top, "commit", "-q", "-m", "first")
    return top


@pytest.fixture
def checkout(committed: Path, tmp_path: Path) -> Path:
    return shutil.copytree(committed, tmp_path, dirs_exist_ok=True)


def test_a_clean_folder_has_the_hash_of_its_tree(checkout: Path, runner: Runner) -> None:
    assert content_hash(runner, [checkout / "app"]) == git(checkout, "rev-parse", "HEAD:app")


def test_the_top_of_a_checkout_is_a_folder_as_well(checkout: Path, runner: Runner) -> None:
    assert content_hash(runner, [checkout]) == git(checkout, "rev-parse", "HEAD^{tree}")


def test_a_commit_elsewhere_does_not_change_it(checkout: Path, runner: Runner) -> None:
    before = content_hash(runner, [checkout / "app"])
    (checkout / "shared/main.py").write_text("other\n")
    git(checkout, "commit", "-q", "-a", "-m", "second")
    assert content_hash(runner, [checkout / "app"]) == before


@pytest.mark.parametrize("name", ["main.py", "new.py", "below/new.py"])
def test_what_is_not_committed_makes_it_dirty(checkout: Path, runner: Runner, name: str) -> None:
    clean = content_hash(runner, [checkout / "app"])
    path = checkout / "app" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("one\n")
    first = content_hash(runner, [checkout / "app"])
    path.write_text("two\n")
    second = content_hash(runner, [checkout / "app"])
    assert first.startswith(f"{clean}-dirty-")
    assert len(first) == len(clean) + len("-dirty-") + 7
    assert first != second
    path.write_text("one\n")
    assert content_hash(runner, [checkout / "app"]) == first


def test_a_program_is_another_content_than_a_file(checkout: Path, runner: Runner) -> None:
    (checkout / "app/main.py").chmod(0o755)
    assert "-dirty-" in content_hash(runner, [checkout / "app"])


def test_a_file_that_is_gone_makes_it_dirty(checkout: Path, runner: Runner) -> None:
    (checkout / "app/main.py").unlink()
    assert "-dirty-" in content_hash(runner, [checkout / "app"])


def test_ignored_files_do_not_count(checkout: Path, runner: Runner) -> None:
    (checkout / "app/x.tmp").write_text("x")
    assert "-dirty-" not in content_hash(runner, [checkout / "app"])
    (checkout / "app/new.py").write_text("x")
    dirty = content_hash(runner, [checkout / "app"])
    (checkout / "app/x.tmp").write_text("y")
    assert content_hash(runner, [checkout / "app"]) == dirty


def test_what_is_used_from_outside_counts(checkout: Path, runner: Runner) -> None:
    paths = [checkout / "app", checkout / "shared"]
    before = content_hash(runner, paths)
    assert before != content_hash(runner, paths[:1])
    (checkout / "shared/main.py").write_text("other\n")
    assert content_hash(runner, paths).startswith(f"{before}-dirty-")
    git(checkout, "commit", "-q", "-a", "-m", "second")
    after = content_hash(runner, paths)
    assert "-dirty-" not in after
    assert after != before


def test_a_single_file_from_outside_counts(checkout: Path, runner: Runner) -> None:
    paths = [checkout / "app", checkout / "shared/main.py"]
    before = content_hash(runner, paths)
    (checkout / "shared/new.py").write_text("not used\n")
    assert content_hash(runner, paths) == before
    (checkout / "shared/main.py").write_text("other\n")
    assert content_hash(runner, paths).startswith(f"{before}-dirty-")


def test_a_folder_that_was_never_committed_has_a_hash(checkout: Path, runner: Runner) -> None:
    (checkout / "fresh").mkdir()
    (checkout / "fresh/main.py").write_text("x\n")
    found = content_hash(runner, [checkout / "fresh"])
    assert len(found) == 40
    (checkout / "fresh/main.py").write_text("y\n")
    assert content_hash(runner, [checkout / "fresh"]) != found


def test_without_git_the_content_decides_and_the_place_does_not(
    tmp_path: Path, runner: Runner
) -> None:
    for place in ("here", "there/deep"):
        (tmp_path / place / "sub").mkdir(parents=True)
        (tmp_path / place / "sub/a").write_text("a")
        (tmp_path / place / "link").symlink_to("sub/a")
    here = content_hash(runner, [tmp_path / "here"])
    assert here == content_hash(runner, [tmp_path / "there/deep"])
    os.utime(tmp_path / "here/sub/a", (0, 0))
    (tmp_path / "here/__pycache__").mkdir()
    (tmp_path / "here/__pycache__/a.pyc").write_text("x")
    assert content_hash(runner, [tmp_path / "here"]) == here
    (tmp_path / "here/sub/a").rename(tmp_path / "here/sub/b")
    assert content_hash(runner, [tmp_path / "here"]) != here


@pytest.mark.provokes("pkg.git")
def test_a_checkout_that_git_cannot_read_is_refused(checkout: Path, runner: Runner) -> None:
    (checkout / ".git/config").write_text("[core\n")
    with pytest.raises(PiimageError, match="git cannot read the checkout") as caught:
        content_hash(runner, [checkout / "app"])
    assert caught.value.code == "pkg.git"


def test_a_program_that_the_checkout_names_is_not_started(checkout: Path, runner: Runner) -> None:
    """core.fsmonitor of a foreign checkout would be run by git."""
    trap = checkout / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch {checkout}/sprung\n")
    trap.chmod(0o755)
    git(checkout, "config", "core.fsmonitor", str(trap))
    content_hash(runner, [checkout / "app"])
    assert not (checkout / "sprung").exists()


def test_a_checkout_without_git_on_the_host_is_a_missing_tool(
    checkout: Path, tmp_path: Path
) -> None:
    bare = Runner(environment={**clean_environment(), "PATH": str(tmp_path)})
    with pytest.raises(PiimageError, match="program git is not installed"):
        content_hash(bare, [checkout / "app"])
