"""What /proc tells of processes."""

from __future__ import annotations

import os
from pathlib import Path

from piimage_task import processes

from tests.unit.task.shims import shim


def test_the_parent_and_the_program_of_a_process_are_told(tmp_path: Path) -> None:
    with shim(tmp_path) as process:
        assert processes.parent(process.task) == str(process.pid)
        assert processes.parent(process.pid) == str(os.getpid())
        assert processes.program(process.pid) == "containerd-shim"
    assert processes.parent("self") == str(os.getppid())


def test_a_name_with_brackets_and_blanks_is_no_part_of_the_numbers(tmp_path: Path) -> None:
    own = Path("/proc/self/comm")
    before = own.read_text()
    try:
        own.write_text("a) S 7 (b")
        assert processes.parent("self") == str(os.getppid())
    finally:
        own.write_text(before)


def test_of_a_process_that_has_ended_nothing_is_told(tmp_path: Path) -> None:
    with shim(tmp_path) as process:
        pass
    assert processes.parent(process.pid) == ""
    assert processes.program(process.pid) == ""
