"""The folders that a container binds exist when it starts, and belong to its user."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.programs.appliance.scripts import Pi, environment

# Notes the owner and what the folder is called by then. Nobody but root can give a folder away.
CHOWN = 'chown() { echo "chown $2 ${3##*/} $([ -d "$3" ] && echo folder)"; }; '


@pytest.fixture
def pi(tmp_path: Path) -> Pi:
    pi = Pi(tmp_path)
    pi.install_library()
    return pi


def prepare(pi: Pi, values: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run prepare_host for a service whose container.env is `values`."""
    folder = pi.write("c/services/web/container.env", values).parent
    library = pi.root / "usr/lib/piimage"
    script = (
        f". {library}/lib.sh; . {library}/container.sh; {CHOWN}{before}"
        f"load_container {folder}; prepare_host {folder} services/web"
    )
    return subprocess.run(
        ["busybox", "sh", "-uc", script],
        capture_output=True, text=True, env=environment(), timeout=60, check=False,
    )  # fmt: skip


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_that_is_missing_belongs_to_the_user_before_it_has_its_name(pi: Pi) -> None:
    data = pi.path("data/x").parent
    done = prepare(pi, f"MKDIR='{data}/web {data}/deep/er/'\nMKDIR_OWNER='7:8'\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["chown 7:8 .web.new folder", "chown 7:8 .er.new folder"]
    assert names(data) == ["deep", "web"]
    assert names(data / "deep") == ["er"]


def test_without_an_owner_it_is_roots(pi: Pi) -> None:
    data = pi.path("data/x").parent
    assert prepare(pi, f"MKDIR='{data}/web'\n").stdout == "chown 0:0 .web.new folder\n"


def test_a_folder_that_exists_is_left_alone(pi: Pi) -> None:
    kept = pi.write("data/web/kept", "x")
    done = prepare(pi, f"MKDIR='{kept.parent}'\nMKDIR_OWNER='7:8'\n")
    assert (done.returncode, done.stdout, kept.read_text()) == (0, "", "x")


def test_a_file_that_exists_is_bound_as_it_is(pi: Pi) -> None:
    kept = pi.write("data/token", "x")
    done = prepare(pi, f"MKDIR='{kept}'\nMKDIR_OWNER='7:8'\n")
    assert (done.returncode, done.stdout, kept.read_text()) == (0, "", "x")


def test_what_a_power_cut_left_half_made_is_finished(pi: Pi) -> None:
    draft = pi.path("data/.web.new/x").parent
    done = prepare(pi, f"MKDIR='{draft.parent}/web'\nMKDIR_OWNER='7:8'\n")
    assert (done.returncode, done.stdout) == (0, "chown 7:8 .web.new folder\n")
    assert names(draft.parent) == ["web"]


def test_a_folder_that_another_container_makes_meanwhile_is_taken(pi: Pi) -> None:
    data = pi.path("data/x").parent
    other = f'mv() {{ mkdir "$3"; busybox mv "$@"; }}; : >{data}/file; '
    done = prepare(pi, f"MKDIR='{data}/web'\nMKDIR_OWNER='7:8'\n", other)
    assert (done.returncode, done.stderr) == (0, "")
    assert names(data) == ["file", "web"]


def test_a_container_whose_folder_cannot_be_made_does_not_start(pi: Pi) -> None:
    file = pi.write("data/file", "x")
    assert prepare(pi, f"MKDIR='{file}/web'\nMKDIR_OWNER='7:8'\n").returncode != 0
