"""A SIF taken apart by siftool of Debian, an independent reader, and by unsquashfs."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from piimage import events
from piimage.formats.apptainer import has_shell, write_sif
from piimage.formats.flat import scans
from piimage.oci.layout import Layout
from piimage.oci.models import Execution
from piimage.run import Runner
from piimage.steps import Builder
from piimage.store import Store
from piimage.trees import Entry, file, folder
from tests.unit.oci.images import image

EXECUTION = Execution(
    env=("PATH=/opt/bin:/bin", 'NOTE=a "b" $HOME `id` } \\'),
    entrypoint=("/opt/bin/thermo", "--every", "2 s"),
    cmd=("--loud",),
    labels={"b": "2", "a": "1"},
)
TREE = [folder("opt"), folder("opt/bin"), file("opt/bin/thermo", b"#!/bin/sh\n", 0o755, 7, 8)]
SHELL = [folder("bin"), file("bin/sh", b"", 0o755)]
BILL = b'{"spdxVersion":"SPDX-2.3"}'

Make = Callable[..., Path]


@pytest.fixture
def make(store: Store, runner: Runner, tmp_path: Path) -> Make:
    def made(*layers: list[Entry], execution: Execution = EXECUTION, target: str = "a.sif") -> Path:
        layout = Layout(store)
        built = image(layout, *layers, execution=execution)
        job = Builder(store, runner, events.ignore).build(*scans(built))
        write_sif(built, "thermo", BILL, layout, job, tmp_path / target)
        return tmp_path / target

    return made


def siftool(*words: object) -> str:
    return subprocess.run(
        ["siftool", *map(str, words)], check=True, capture_output=True, text=True
    ).stdout


def unpacked(sif: Path) -> Path:
    """The root file system, taken out of the SIF by siftool."""
    partition, target = sif.with_suffix(".squashfs"), sif.with_suffix(".root")
    dumped = subprocess.run(["siftool", "dump", "5", sif], check=True, capture_output=True)
    partition.write_bytes(dumped.stdout)
    subprocess.run(
        ["unsquashfs", "-q", "-n", "-d", target, partition], check=True, capture_output=True
    )
    return target


def test_a_reader_finds_all_objects_with_their_types(make: Make) -> None:
    sif = make(TREE)
    header = siftool("header", sif)
    assert "Primary Architecture: arm64" in header
    assert "2025-01-01 00:00:00 +0000 UTC" in header
    rows = [line for line in siftool("list", sif).splitlines() if line[:1].isdigit()]
    assert [row.split("|")[-1] for row in rows] == [
        "Def.FILE", "JSON.Labels", "JSON.Generic", "SBOM (spdx-json)", "FS (Squashfs/*System/arm64)"
    ]  # fmt: skip
    assert siftool("dump", 1, sif).startswith("Bootstrap: docker\nFrom: thermo@sha256:")
    assert json.loads(siftool("dump", 2, sif)) == {"a": "1", "b": "2"}
    started = json.loads(siftool("dump", 3, sif))
    assert (started["Entrypoint"][0], started["Cmd"]) == ("/opt/bin/thermo", ["--loud"])
    assert siftool("dump", 4, sif) == BILL.decode()
    offset = next(line for line in siftool("info", 5, sif).splitlines() if "Offset" in line)
    assert int(offset.split()[-1]) % 4096 == 0


def test_a_reader_can_add_to_it_and_keeps_what_was_there(make: Make, tmp_path: Path) -> None:
    sif = make(TREE)
    (tmp_path / "note").write_text("later")
    siftool("add", sif, tmp_path / "note", "--datatype", 7)
    assert siftool("dump", 6, sif) == "later"
    assert siftool("dump", 4, sif) == BILL.decode()


def test_it_is_a_program_for_whoever_has_apptainer(make: Make) -> None:
    sif = make(TREE)
    assert sif.read_bytes().startswith(b"#!/usr/bin/env run-singularity\n\0")
    assert sif.stat().st_mode & 0o777 == 0o755


def test_the_same_image_gives_the_same_bytes(make: Make) -> None:
    first, again = make(TREE, SHELL), make(TREE, SHELL, target="b.sif")
    assert first.read_bytes() == again.read_bytes()
    assert make(TREE, target="c.sif").read_bytes()[48:64] != first.read_bytes()[48:64]


def test_the_root_has_the_files_of_all_layers_and_places_to_mount_at(make: Make) -> None:
    root = unpacked(make(TREE, [folder("opt"), file("opt/.wh.bin", b"")], SHELL))
    assert not (root / "opt/bin").exists()
    assert (root / "bin/sh").is_file()
    for name in ("dev", "proc", "sys", "tmp", "home", "var/tmp"):
        assert (root / name).is_dir()
    for name in ("hosts", "resolv.conf", "passwd", "group"):
        assert (root / "etc" / name).is_file()


def says(root: Path, *words: str, **environment: str) -> list[str]:
    """Run the start script on this machine, with a shell in the place of the image's program."""
    script = (root / ".singularity.d/runscript").read_text()
    variables = (root / ".singularity.d/env/10-docker2singularity.sh").read_text()
    shown = script.replace("exec ", "printf '%s\\n' \"$NOTE\" ")
    done = subprocess.run(
        ["sh", "-c", f"{variables}\n{shown}", "sh", *words],
        env={"HOME": "/nobody", **environment}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.splitlines()


def test_arguments_replace_the_command_and_not_the_entrypoint(make: Make) -> None:
    root = unpacked(make(TREE))
    note = 'a "b" $HOME `id` } \\'
    start = [note, "/opt/bin/thermo", "--every", "2 s"]
    assert says(root) == [*start, "--loud"]
    assert says(root, "--quiet", "x y") == [*start, "--quiet", "x y"]


def test_a_variable_of_the_caller_counts_and_the_path_is_the_images(make: Make) -> None:
    root = unpacked(make(TREE))
    assert says(root, NOTE="mine")[0] == "mine"
    variables = (root / ".singularity.d/env/10-docker2singularity.sh").read_text()
    assert f"export PATH={shlex.quote('/opt/bin:/bin')}" in variables


@pytest.mark.parametrize(
    ("execution", "expected"),
    [
        (Execution(), ["", "/bin/sh"]),
        (Execution(cmd=("/bin/a", "b")), ["", "/bin/a", "b"]),
        (Execution(entrypoint=("/bin/a",)), ["", "/bin/a"]),
    ],
)
def test_an_image_without_one_of_the_two_starts_as_docker_would(
    make: Make, execution: Execution, expected: list[str]
) -> None:
    assert says(unpacked(make(TREE, execution=execution))) == expected


@pytest.mark.parametrize(("layers", "expected"), [([TREE], False), ([TREE, SHELL], True)])
def test_an_image_without_a_shell_is_known(
    store: Store, runner: Runner, layers: list[list[Entry]], expected: bool
) -> None:
    built = image(Layout(store), *layers)
    job = Builder(store, runner, events.ignore).build(*scans(built))
    assert has_shell(built, job) is expected
