"""What a deploy compares, held against the card that was built from the same file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from piimage.deploy import answers
from piimage.firmware.card import find_manifest
from tests.system.deploy.greenhouse import Greenhouse


@pytest.mark.parametrize("board", ["qemu-virt", "pi3"])
def test_a_card_that_was_just_built_needs_no_other(
    board: str, tmp_path: Path, piimage_store: Path
) -> None:
    greenhouse = Greenhouse.laid_out(tmp_path / "files", piimage_store)
    text = greenhouse.file.read_text()
    greenhouse.file.write_text(text.replace("board: qemu-virt", f"board: {board}"))
    prefix = "a/" if board == "pi3" else ""
    manifest = json.loads(find_manifest(greenhouse.card()) or b"")
    release = greenhouse.release()
    files = {
        path: digest for path, digest in manifest["files"].items() if not path.startswith("layers/")
    }
    slot = answers.Slot(
        board=manifest["board"], kernel=manifest["kernel"], arch="aarch64", prefix=prefix,
        system=tuple(manifest["system"]), files=files, containers=manifest["containers"],
        running=manifest["containers"], temporary=False, folders={},
    )  # fmt: skip
    assert release.differences(slot) == []
    assert release.containers == manifest["containers"]
    assert release.services == ("hello_world", "sshd", "web")
    assert release.patience == 20  # `health: start` of web
    # Another kernel command line is part of the slot.
    greenhouse.file.write_text(greenhouse.file.read_text() + "boot: { cmdline: [panic=7] }\n")
    expected = ["cmdline.txt", "trycmd.txt"] if prefix else ["cmdline.txt"]
    assert greenhouse.release().differences(slot) == expected
