"""`piimage module`: kernel modules."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from piimage.boards import load_board, search_path
from piimage.cli.options import Json, Origin, Sets, Verbose, with_groups
from piimage.cli.session import open_inputs
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


class Sandbox(Enum):
    """What isolates a build from the host."""

    bubblewrap = "bubblewrap"
    docker = "docker"


@app.callback()
def _module() -> None:
    """Kernel modules."""


@app.command(epilog=EXAMPLE)
@with_groups
def build(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder with a module.yml.", readable=False)
    ],
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE...]",
            help="YAML files; build for the kernel in their lock.",
            readable=False,
        ),
    ] = None,
    board: Annotated[
        str | None,
        typer.Option("--board", help="Build for this board (lock: DIR/BOARD.lock), without FILE."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Folder for NAME.ko (default: DIR).", readable=False),
    ] = None,
    sandbox: Annotated[
        Sandbox,
        typer.Option("--with", help="bubblewrap, or docker (DOCKER_HOST); both give equal bytes."),
    ] = Sandbox.bubblewrap,
    sets: Sets = [],
    *,
    origin: Origin,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Cross-build a kernel module for the locked kernel of a file, or of a board."""
    if (files is None or not files) == (board is None):
        raise typer.BadParameter("give either FILE or --board")
    with open_inputs(origin, verbose=verbose, as_json=json) as inputs:
        folder = Path(os.path.abspath(folder))  # noqa: PTH100  # resolve() would follow links
        appliance = load(files, sets, os.environ) if files else alone(folder, board or "")
        target = load_board(appliance.board, search_path(files or [folder / "module.yml"]))
        path = lock_path(files) if files else folder / f"{board}.lock"
        require_named(appliance, folder, path.with_suffix(".yml"))
        lock = current_lock(LockableAppliance(appliance, target), path, inputs)
        engine = DockerBuild(inputs.docker_host) if sandbox is Sandbox.docker else None
        built = build_module(folder, lock, inputs, out or folder, engine)
        release = built.info.vermagic.partition(" ")[0]
        module = load_module(folder)
        about = f"{module.description} ({module.license})" if module.description else module.license
        inputs.emit(Note(f"{built.path}: {built.size} bytes, for kernel {release}; {about}"))
