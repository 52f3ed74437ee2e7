"""`piimage build`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from piimage.cli.options import Json, Origin, Sets, Sources, Verbose, with_groups
from piimage.cli.output import listening
from piimage.events import Note
from piimage.store import Store, default_root
from piimage.unchanged import Memory

if TYPE_CHECKING:
    from piimage.build import Outputs

EXAMPLE = "Example: piimage build pi4.yml -o out"


@with_groups
def build(
    sources: Sources,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder for the results.", readable=False)
    ] = Path("out"),
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="One or more of card (or raw, raw-efi), qcow2 (or qcow2-efi), vhd, iso-efi, "
            "kernel+initrd, tar-kernel-initrd, tar, oci, bundle, separated by commas.",
        ),
    ] = "card",
    rpi_imager: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Also pack the card for Raspberry Pi Imager, for download from URL."
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            help="Name of the results, and of a file from a URL or standard input "
            "(default: the last file's).",
        ),
    ] = None,
    sets: Sets = [],
    *,
    origin: Origin,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Build the card image of a file, from the lock beside it; write the lock if it is missing."""
    files = _paths(sources, name, sets)
    options = (form, rpi_imager, name, sets, origin)
    memory = Memory(Store(default_root()), files, out, tuple(map(repr, options)))
    if (summary := memory.unchanged(os.environ)) is not None:
        with listening(verbose=verbose, as_json=json) as emit:
            emit(Note(f"nothing changed; {summary}"))
        return
    # Importing what builds takes a third of a second, which "nothing changed" saves.
    from piimage.build import build as build_all  # noqa: PLC0415
    from piimage.cli.pins import note_host_key  # noqa: PLC0415
    from piimage.cli.session import open_inputs, read_card_project  # noqa: PLC0415
    from piimage.durable import output_folder  # noqa: PLC0415
    from piimage.formats.chosen import parse  # noqa: PLC0415

    chosen = parse(form, imager_url=rpi_imager)
    if chosen.bundle:
        from piimage.cli.bundle import require_signer, write_bundle  # noqa: PLC0415
        from piimage.config.load import load  # noqa: PLC0415

        require_signer(load(files, sets, os.environ), files)  # before the lock and the build
    witness = memory.witness()
    with (
        witness.watching(),
        open_inputs(origin, verbose=verbose, as_json=json) as inputs,
        output_folder(out),
    ):
        project = read_card_project(files, sets, inputs)
        project = project if name is None else replace(project, name=name)
        outputs = build_all(project, inputs, out, chosen)
        if chosen.bundle:
            made = write_bundle(outputs.version, outputs.job, project.name, inputs, out)
            outputs = replace(outputs, paths=(*outputs.paths, made.path))
        note_host_key(project.appliance, None, inputs.emit)
        for remark in chosen.remarks(project.name):
            inputs.emit(Note(remark))
        summary = _summary(outputs, emulated=project.board.emulator is not None)
        memory.remember(witness, outputs.paths, summary, os.environ)
        inputs.emit(Note(summary))


def _paths(sources: Sequence[str], name: str | None, sets: Sequence[str]) -> tuple[Path, ...]:
    """Return the paths of the files; what comes from elsewhere is kept in the working folder."""
    if name is None and not any(source == "-" or "://" in source for source in sources):
        return tuple(map(Path, sources))
    from piimage.config.received import Given, received  # noqa: PLC0415  # few builds need it

    return received(sources, Given(sets, name), Store(default_root()), sys.stdin.buffer, Path())


def _summary(outputs: Outputs, *, emulated: bool) -> str:
    """Return what was built, and the next command: `run` only if QEMU has the board."""
    from piimage.run import word  # noqa: PLC0415  # a build has imported it

    if outputs.card is None:
        return f"wrote {', '.join(map(str, outputs.paths))}"
    image, mapped = outputs.card.image, outputs.card.map.mapped / 1e6
    command = "run" if emulated else "flash /dev/sdX"
    return f"{image}: {mapped:.1f} MB to write, next: piimage {command} {word(image)}"
