"""`piimage run`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from piimage.boards import DiskKind
from piimage.build import build_card
from piimage.cli.options import Files, Origin, Sets, Verbose, fetching
from piimage.cli.output import tell
from piimage.cli.session import project_of_card, sources
from piimage.emulator.session import Options, boot
from piimage.firmware.manifest import board_of
from piimage.locking.resolve import Sources

EXAMPLE = "Example: piimage run out/pi4.img --until HELLO --timeout 120"


@fetching
def run(
    files: Files,
    until: Annotated[str | None, typer.Option(help="End well when the console shows this.")] = None,
    timeout: Annotated[float, typer.Option(help="With --until: seconds to wait.")] = 300,
    ssh_port: Annotated[int | None, typer.Option(help="Port here that leads to its SSH.")] = None,
    cpus: Annotated[int | None, typer.Option(help="Processors.")] = None,
    mem: Annotated[int | None, typer.Option(help="Memory in MiB.")] = None,
    disk: Annotated[int | None, typer.Option(help="Size of the card in MiB.")] = None,
    kind: Annotated[
        DiskKind, typer.Option("--from", help="What the image is on, where the machine has it.")
    ] = DiskKind.CARD,
    disk_file: Annotated[
        Path | None,
        typer.Option(help="Keep what it writes in this file, for the next run.", readable=False),
    ] = None,
    sets: Sets = [],
    *,
    origin: Origin,
    verbose: Verbose = False,
) -> None:
    """Boot an image (or build a file and boot that) in QEMU; Ctrl-C ends it."""
    with sources(origin, verbose=verbose) as found:
        options = Options(cpus, mem, disk and disk << 20, disk_file, kind, ssh_port)
        with card_image(files, sets, found) as image:
            board = board_of(image)
            with boot(image, board, found.runner, options, listen=_show) as machine:
                if machine.ssh_port is not None:
                    tell(f"ssh: ssh -p {machine.ssh_port} root@localhost")
                if until is None:
                    machine.wait_end(float("inf"))
                else:
                    machine.wait_for(until, timeout)
                    _show(b"\r\n")  # the text may be in the middle of a line


@contextmanager
def card_image(files: list[Path], sets: list[str], found: Sources) -> Iterator[Path]:
    """Give the image that is named, or the one that the YAML files build to."""
    if files[0].suffix not in (".yml", ".yaml"):
        yield files[0]
        return
    with tempfile.TemporaryDirectory(prefix="piimage-") as folder:
        yield build_card(project_of_card(files, sets, found), found, Path(folder)).image


def _show(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.flush()
