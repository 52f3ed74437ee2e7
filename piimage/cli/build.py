"""`piimage build`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from piimage.cli.options import Files, Json, Origin, Sets, Verbose, fetching
from piimage.cli.output import listening
from piimage.events import Note
from piimage.store import Store, default_root
from piimage.unchanged import Memory

if TYPE_CHECKING:
    from piimage.build import Outputs

EXAMPLE = "Example: piimage build pi4.yml -o out"


@fetching
def build(
    files: Files,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder of the results.", readable=False)
    ] = Path("out"),
    form: Annotated[
        str,
        typer.Option("--format", help="One or more of card, kernel+initrd, tar, oci; by commas."),
    ] = "card",
    rpi_imager: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Also pack the card for Raspberry Pi Imager, to be served at URL."
        ),
    ] = None,
    sets: Sets = [],
    *,
    origin: Origin,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Build the card image of a file; the lock beside it is used, or made if there is none."""
    options = (form, rpi_imager, sets, origin)
    memory = Memory(Store(default_root()), tuple(files), out, tuple(map(repr, options)))
    if (said := memory.unchanged(os.environ)) is not None:
        with listening(verbose=verbose, as_json=json) as emit:
            emit(Note(f"nothing changed; {said}"))
        return
    # All that builds is imported only now: a third of a second that "nothing changed" goes without.
    from piimage.build import build as build_all  # noqa: PLC0415
    from piimage.cli.pins import note_host_key  # noqa: PLC0415
    from piimage.cli.session import project_of_card, sources  # noqa: PLC0415
    from piimage.durable import output_folder  # noqa: PLC0415
    from piimage.formats.chosen import parse  # noqa: PLC0415

    chosen = parse(form, imager_url=rpi_imager)
    witness = memory.witness()
    with (
        witness.watching(),
        sources(origin, verbose=verbose, as_json=json) as found,
        output_folder(out),
    ):
        project = project_of_card(files, sets, found)
        made = build_all(project, found, out, chosen)
        note_host_key(project.appliance, None, found.emit)
        said = _summary(made)
        memory.remember(witness, made.paths, said, os.environ)
        found.emit(Note(said))


def _summary(made: Outputs) -> str:
    from piimage.run import word  # noqa: PLC0415  # a build has imported it

    if made.card is None:
        return f"wrote {', '.join(map(str, made.paths))}"
    image, mapped = made.card.image, made.card.map.mapped / 1e6
    return f"{image}: {mapped:.1f} MB to write, next: piimage run {word(image)}"
