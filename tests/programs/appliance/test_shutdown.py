"""The programs that end a restart, and that order a try of the other slot."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.programs.appliance.scripts import Pi, environment

FLAG = "sys/module/tryboot/parameters/next"


@pytest.fixture
def pi(tmp_path: Path) -> Pi:
    """A Pi whose process 1, mounts and restart are stand-ins that note what they are told."""
    pi = Pi(tmp_path)
    library = pi.install_library()
    flag = pi.path("usr/lib/piimage/try-flag.sh")
    flag.write_text(flag.read_text().replace("/sys/module", f"{tmp_path}/sys/module"))
    with library.open("a") as stream:
        for name in ("mount", "umount", "sync", "kill", "busybox"):
            stream.write(f'{name}() {{ note {name} "$@"; }}\n')
        stream.write("pidof() { echo 41 42; }\n")
        stream.write(f'note() {{ echo "$* flag=$(cat {tmp_path}/{FLAG})" >>{tmp_path}/notes; }}\n')
    pi.program("initctl", f'echo "initctl $*" >>{tmp_path}/notes')
    pi.path("run/piimage/x")
    pi.write(FLAG, "0\n")
    return pi


def notes(pi: Pi) -> list[str]:
    path = pi.path("notes")
    return path.read_text().replace(str(pi.root), "").splitlines() if path.exists() else []


def end(pi: Pi, kind: str | None) -> None:
    """Run the hook as process 1 does."""
    script = pi.install("shutdown")
    outer = environment() | ({} if kind is None else {"FINIT_SHUTDOWN": kind})
    subprocess.run(["busybox", "sh", script], env=outer, check=True, timeout=60)


def test_a_restart_ends_with_data_written_and_the_kernels_restart(pi: Pi) -> None:
    end(pi, "reboot")
    assert notes(pi) == [
        "kill -STOP 41 flag=0",
        "kill -STOP 42 flag=0",
        "sync flag=0",
        "umount /data flag=0",
        "sync flag=0",
        "busybox reboot -f flag=0",
    ]


def test_the_flag_of_an_ordered_try_is_set_after_everything_else(pi: Pi) -> None:
    pi.write("run/piimage/try-boot", "")
    end(pi, "reboot")
    assert [note for note in notes(pi) if note.endswith("flag=1")] == ["busybox reboot -f flag=1"]


def test_switching_off_ends_the_same_way_and_is_no_try(pi: Pi) -> None:
    pi.write("run/piimage/try-boot", "")
    end(pi, "poweroff")
    assert notes(pi)[:2] == ["kill -STOP 41 flag=0", "kill -STOP 42 flag=0"]
    assert notes(pi)[3:] == ["umount /data flag=0", "sync flag=0", "busybox poweroff -f flag=0"]


@pytest.mark.parametrize("kind", ["halt", None])
def test_a_halt_is_left_to_process_1(pi: Pi, kind: str | None) -> None:
    pi.write("run/piimage/try-boot", "")
    end(pi, kind)
    assert notes(pi) == []
    assert pi.path(FLAG).read_text() == "0\n"


def test_data_that_is_in_use_is_made_read_only(pi: Pi) -> None:
    library = pi.path("usr/lib/piimage/lib.sh")
    library.write_text(library.read_text() + "umount() { return 1; }\n")
    end(pi, "reboot")
    assert "mount -o remount,ro /data flag=0" in notes(pi)


def test_a_try_is_ordered_and_the_flag_stays_clear_until_the_end(pi: Pi) -> None:
    pi.install("try-boot")
    done = pi.run("try-boot")
    assert (done.returncode, done.stderr) == (0, "")
    assert notes(pi) == ["initctl reboot"]
    assert pi.path("run/piimage/try-boot").exists()
    assert pi.path(FLAG).read_text() == "0\n"


def test_without_the_module_nothing_is_stopped(pi: Pi) -> None:
    pi.path(FLAG).unlink()
    pi.install("try-boot")
    done = pi.run("try-boot")
    assert done.returncode == 1
    assert "no module tryboot" in done.stderr
    assert (notes(pi), pi.path("run/piimage/try-boot").exists()) == ([], False)


def test_with_a_firmware_that_does_not_take_the_flag_nothing_is_stopped(pi: Pi) -> None:
    pi.path(FLAG).unlink()
    pi.path(FLAG).symlink_to("/dev/full")  # a write that fails, as with EOPNOTSUPP
    pi.install("try-boot")
    done = pi.run("try-boot")
    assert done.returncode == 1
    assert "update the boot loader" in done.stderr
    assert (notes(pi), pi.path("run/piimage/try-boot").exists()) == ([], False)


def test_a_flag_that_is_not_kept_is_noticed(pi: Pi) -> None:
    pi.path(FLAG).unlink()
    pi.path(FLAG).symlink_to("/dev/null")
    pi.install("try-boot")
    assert pi.run("try-boot").returncode == 1
    assert notes(pi) == []


def test_an_answer_that_process_1_owes_changes_nothing(pi: Pi) -> None:
    pi.program("initctl", "exit 1")  # as when it restarts before it answers
    pi.install("try-boot")
    assert pi.run("try-boot").returncode == 0
    assert pi.path("run/piimage/try-boot").exists()


def test_disks_that_are_plugged_in_are_written_before_the_end(pi: Pi) -> None:
    script = pi.install("shutdown")
    media = pi.path("media/music/song").parent.parent
    script.write_text(script.read_text().replace("/media/*", f"{media}/*"))
    library = pi.path("usr/lib/piimage/lib.sh")
    library.write_text(library.read_text() + "is_mounted() { :; }\n")
    outer = environment() | {"FINIT_SHUTDOWN": "poweroff"}
    subprocess.run(["busybox", "sh", script], env=outer, check=True, timeout=60)
    assert notes(pi)[2:4] == ["umount /media/music flag=0", "sync flag=0"]
