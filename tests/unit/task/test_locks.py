"""Locks that end with their process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from piimage_task.locks import Lock


def test_a_lock_is_held_by_one_until_it_is_released(tmp_path: Path) -> None:
    first, other = Lock(f"{tmp_path}/lock"), Lock(f"{tmp_path}/lock")
    assert first.try_to_take()
    assert not other.try_to_take()
    first.release()
    other.take()
    other.release()


def test_a_lock_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    lock = Lock(f"{tmp_path}/lock")
    code = (
        "import sys, time; from piimage_task.locks import Lock; lock = Lock(sys.argv[1]); "
        "lock.take(); print(flush=True); time.sleep(1000)"
    )
    environment = {"PYTHONPATH": ":".join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", code, f"{tmp_path}/lock"], stdout=subprocess.PIPE, env=environment
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert not lock.try_to_take()
        other.kill()
    lock.take()
    lock.release()
