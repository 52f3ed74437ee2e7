"""`piimage module`: kernel modules."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from piimage.boards import load_board, search_path
from piimage.cli.options import Json, Origin, Sets, Verbose, fetching
from piimage.cli.session import sources
from piimage.config.load import load, load_module
from piimage.events import Note
from piimage.locking.appliance import LockableAppliance, lock_path
from piimage.locking.current import current_lock
from piimage.modules.build import alone, build_module, require_named
from piimage.toolchain.docker import DockerBuild

EXAMPLE = "Example: piimage module build kernel-modules/hello --board pi4"

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Kernel modules."
)


class With(Enum):
    """What sets a build apart from the host."""

    bubblewrap = "bubblewrap"
    docker = "docker"


@app.callback()
def _module() -> None:
    """Kernel modules."""


@app.command(epilog=EXAMPLE)
@fetching
def build(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder with a module.yml.", readable=False)
    ],
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE...]", help="YAML files whose locked kernel it is for.", readable=False
        ),
    ] = None,
    board: Annotated[
        str | None, typer.Option("--board", help="Without a FILE: the board (DIR/BOARD.lock).")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Where NAME.ko goes (DIR itself).", readable=False),
    ] = None,
    by: Annotated[
        With, typer.Option("--with", help="bubblewrap, or docker (DOCKER_HOST): the same bytes.")
    ] = With.bubblewrap,
    sets: Sets = [],
    *,
    origin: Origin,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Cross-build a kernel module for the locked kernel of a file, or of a board."""
    if (files is None or not files) == (board is None):
        raise typer.BadParameter("name a FILE, or a board with --board")
    with sources(origin, verbose=verbose, as_json=json) as found:
        folder = Path(os.path.abspath(folder))  # noqa: PTH100  # resolve() would follow links
        appliance = load(files, sets, os.environ) if files else alone(folder, board or "")
        machine = load_board(appliance.board, search_path(files or [folder / "module.yml"]))
        path = lock_path(files) if files else folder / f"{board}.lock"
        require_named(appliance, folder, path.with_suffix(".yml"))
        lock = current_lock(LockableAppliance(appliance, machine), path, found)
        engine = DockerBuild(found.docker_host) if by is With.docker else None
        built = build_module(folder, lock, found, out or folder, engine)
        release = built.info.vermagic.partition(" ")[0]
        said = load_module(folder)
        about = f"{said.description} ({said.license})" if said.description else said.license
        found.emit(Note(f"{built.path}: {built.size} bytes, for kernel {release}; {about}"))
