"""The log of an emulated card's writes has each of them, up to the sync after it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from piimage.emulator.drive import Drive
from tests.system.deploy.write_log import epochs, log_of, logged


def test_writes_are_found_between_the_syncs_and_after_a_new_start(tmp_path: Path) -> None:
    drive = Drive(tmp_path / "card.qcow2", kept=False)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", drive.path, "4M"], check=True)
    first = ["write -P 7 1k 1k", "write -P 8 4k 512", "discard 8k 4k", "flush", "write -P 1 0 512"]
    for commands in (first, ["write -P 9 2k 512", "flush"]):
        options = logged(drive, "none").removeprefix("if=none,cache=writeback,")
        words = [word for command in commands for word in ("-c", command)]
        subprocess.run(["qemu-io", *words, "--image-opts", options], check=True)
    # QEMU syncs when it ends.
    found = [
        [(write.at, write.data) for write in epoch.writes]
        for epoch in epochs(log_of(drive))
        if epoch.writes
    ]
    assert found == [
        [(1024, b"\7" * 1024), (4096, b"\10" * 512)],
        [(0, b"\1" * 512)],
        [(2048, b"\11" * 512)],
    ]
