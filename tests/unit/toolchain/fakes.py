"""A bubblewrap that only changes folders, and toolchains of one package."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from piimage.run import Runner
from piimage.store import Store
from piimage.toolchain.tree import Tool, Tools
from tests.unit.debian.makers import ar

BWRAP = """#!/bin/sh
while [ $# -gt 0 ]; do
    case $1 in
    --bind) cd "$2" || exit 1; shift 3 ;;
    --setenv) export "$2=$3"; shift 3 ;;
    --ro-bind) shift 3 ;;
    --proc | --dev | --tmpfs | --hostname | --uid | --gid) shift 2 ;;
    --chdir) shift 2; break ;;
    --*) shift ;;
    esac
done
exec "$@"
"""


def runner_with(folder: Path, bwrap: str = BWRAP) -> Runner:
    """A runner whose `bwrap` is the script given."""
    folder.mkdir(exist_ok=True)
    (folder / "bwrap").write_text(bwrap)
    (folder / "bwrap").chmod(0o755)
    runner = Runner()
    return runner.with_environment(PATH=f"{folder}:{runner.environment['PATH']}")


def deb_of(entries: list[tarfile.TarInfo], contents: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for entry in entries:
            archive.addfile(entry)
        for name, data in contents.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o755 if "bin/" in name else 0o644
            archive.addfile(info, io.BytesIO(data))
    return ar([("debian-binary", b"2.0\n"), ("data.tar", out.getvalue())])


def link(name: str, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info


def tool(store: Store, name: str, contents: Mapping[str, bytes], *links: tarfile.TarInfo) -> Tool:
    return Tool(name, store.add_bytes(deb_of(list(links), contents)))


def tools(store: Store) -> Tools:
    return Tools((tool(store, "make", {"./usr/bin/make": b"make"}),))
