from __future__ import annotations

from pathlib import Path

import pytest

from piimage.clock import EPOCH
from piimage.errors import PiimageError
from piimage.steps import Builder
from piimage.store import Store
from piimage.toolchain.steps import Compiled, Made

from .fakes import runner_with, tools


def builder(store: Store, tmp_path: Path) -> Builder:
    return Builder(store, runner_with(tmp_path / "bin"))


def compiled(store: Store, script: str, *outputs: str) -> Compiled:
    return Compiled("hello", tools(store), {"a/in": b"input"}, (("sh", "-c", script),), outputs)


def test_files_go_in_and_come_out(store: Store, tmp_path: Path) -> None:
    step = compiled(store, "cat a/in a/in >out; cp out b.o", "out")
    outputs = builder(store, tmp_path).build(step).made[step.key]
    assert {name: store.path(blob).read_bytes() for name, blob in outputs.items()} == {
        "out": b"inputinput"
    }


def test_what_another_step_makes_goes_in(store: Store, tmp_path: Path) -> None:
    first = compiled(store, "echo made >out", "out")
    second = Compiled("x", tools(store), {"in": Made(first)}, (("cp", "in", "copy"),), ("copy",))
    job = builder(store, tmp_path).build(second)
    assert job.file(second).read_bytes() == b"made\n"


def test_the_time_is_fixed(store: Store, tmp_path: Path) -> None:
    step = compiled(store, "echo $SOURCE_DATE_EPOCH $KBUILD_BUILD_HOST >out", "out")
    job = builder(store, tmp_path).build(step)
    assert job.file(step).read_text() == f"{EPOCH} piimage\n"


@pytest.mark.provokes("toolchain.failed")
def test_a_build_that_fails_shows_its_last_lines_and_own_paths(
    store: Store, tmp_path: Path
) -> None:
    step = compiled(store, "seq 99; echo /source/hello.c:3: oops >&2; exit 2", "out")
    with pytest.raises(PiimageError) as caught:
        builder(store, tmp_path).build(step)
    assert caught.value.message.splitlines()[-1] == "  hello.c:3: oops"
    assert len(caught.value.message.splitlines()) == 21
    assert caught.value.place == "hello"


@pytest.mark.provokes("toolchain.no-output")
def test_a_build_that_makes_nothing_is_told(store: Store, tmp_path: Path) -> None:
    with pytest.raises(PiimageError, match=r"made no \*\.ko"):
        builder(store, tmp_path).build(compiled(store, "touch x.o", "*.ko"))


@pytest.mark.provokes("toolchain.no-sandbox")
def test_a_host_without_namespaces_is_told_what_to_permit(store: Store, tmp_path: Path) -> None:
    complaint = "bwrap: No permissions to create new namespace, likely because the kernel does not"
    runner = runner_with(tmp_path / "bin", f"#!/bin/sh\necho '{complaint}' >&2; exit 1\n")
    with pytest.raises(PiimageError) as caught:
        Builder(store, runner).build(compiled(store, "true", "x"))
    assert "unprivileged_userns" in (caught.value.hint or "")


def test_a_link_is_no_output(store: Store, tmp_path: Path) -> None:
    step = compiled(store, "ln -s /etc/passwd out; echo x >out2", "out*")
    outputs = builder(store, tmp_path).build(step).made[step.key]
    assert list(outputs) == ["out2"]
