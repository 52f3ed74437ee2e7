from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from piimage import cache
from piimage.errors import InputError
from piimage.run import Runner
from piimage.store import Store
from piimage.toolchain.tree import Tools, build_architecture

from .fakes import link, tool


def test_packages_are_unpacked_over_one_another(store: Store, runner: Runner) -> None:
    first = tool(store, "a", {"./usr/bin/a": b"first", "./usr/include/x.h": b"same"})
    second = tool(store, "b", {"./bin/b": b"second", "./usr/include/x.h": b"same"})
    root = Tools((first, second)).folder(store, runner)
    assert (root / "usr/bin/a").read_bytes() == b"first"
    assert (root / "bin/b").resolve() == root / "usr/bin/b"
    assert os.access(root / "usr/bin/b", os.X_OK)
    assert {"proc", "dev", "tmp", "source"} <= {path.name for path in root.iterdir()}


AS, LD = (f"usr/bin/aarch64-linux-gnu-{name}" for name in ("as", "ld"))


@pytest.mark.parametrize("also", [[], ["as", "ld"]], ids=["arm64", "amd64"])
def test_the_compiler_finds_assembler_and_linker_on_each_architecture(
    store: Store, runner: Runner, also: list[str]
) -> None:
    """The files of binutils-aarch64-linux-gnu 2.44-3, which has no such links for arm64."""
    links = [
        link(f"./usr/aarch64-linux-gnu/bin/{name}", f"../../bin/aarch64-linux-gnu-{name}")
        for name in also
    ]
    binutils = tool(store, "binutils", {f"./{AS}": b"as", f"./{LD}": b"ld"}, *links)
    root = Tools((binutils,)).folder(store, runner)
    # GCC Internals, "gcc -print-search-dirs": the folder of the tools is beside the compiler's own.
    found = root / "usr/lib/gcc/aarch64-linux-gnu/14/../../../../aarch64-linux-gnu/bin"
    (root / "usr/lib/gcc/aarch64-linux-gnu/14").mkdir(parents=True)
    assert [(found / name).read_bytes() for name in ("as", "ld")] == [b"as", b"ld"]


def test_documentation_is_left_out(store: Store, runner: Runner) -> None:
    root = Tools((tool(store, "a", {"./usr/share/doc/a/x": b"", "./usr/bin/a": b""}),))
    assert not (root.folder(store, runner) / "usr/share/doc").exists()


def test_it_is_unpacked_once(store: Store, runner: Runner) -> None:
    tools = Tools((tool(store, "a", {"./usr/bin/a": b"x"}),))
    (tools.folder(store, runner) / "mark").touch()
    assert (tools.folder(store, runner) / "mark").exists()


def test_no_link_of_a_package_leads_a_file_out_of_the_tree(
    store: Store, runner: Runner, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    evil = tool(store, "evil", {"./usr/lib/out/x": b"owned"}, link("./usr/lib/out", str(outside)))
    root = Tools((evil,)).folder(store, runner)
    assert list(outside.iterdir()) == []
    assert (root / str(outside).lstrip("/") / "x").read_bytes() == b"owned"


def test_the_tar_holds_what_the_folder_holds(store: Store, runner: Runner) -> None:
    tools = Tools((tool(store, "a", {"./usr/bin/a": b"x"}, link("./usr/bin/b", "a")),))
    data = b"".join(tools.tar(store, runner))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        names = archive.getnames()
    root = tools.folder(store, runner)
    assert sorted(names) == sorted(str(p.relative_to(root)) for p in root.rglob("*"))


def test_a_tree_that_was_not_used_for_long_leaves_the_cache(store: Store, runner: Runner) -> None:
    tools = Tools((tool(store, "a", {"./usr/bin/a": b"x"}),))
    root = tools.folder(store, runner)
    cache.collect(store, 30)
    assert root.is_dir()
    os.utime(root, (0, 0))
    cache.collect(store, 30)
    assert not root.exists()


@pytest.mark.provokes("toolchain.unknown-machine")
def test_a_machine_without_a_toolchain_is_named() -> None:
    assert build_architecture("x86_64") == "amd64"
    assert build_architecture("aarch64") == "arm64"
    with pytest.raises(InputError, match="riscv64"):
        build_architecture("riscv64")
