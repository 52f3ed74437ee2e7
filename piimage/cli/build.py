"""`piimage build`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from piimage.build import Outputs
from piimage.build import build as build_all
from piimage.cli.options import (
    Certificates,
    Files,
    Insecure,
    Json,
    Mirror,
    Offline,
    Sets,
    Snapshot,
    Verbose,
)
from piimage.cli.session import project, sources
from piimage.events import Note
from piimage.formats.chosen import parse

EXAMPLE = "Example: piimage build pi4.yml -o out"


def build(
    files: Files,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the results.")] = Path("out"),
    form: Annotated[
        str,
        typer.Option("--format", help="One or more of card, kernel+initrd, tar, oci; by commas."),
    ] = "card",
    sets: Sets = [],
    mirror: Mirror = None,
    snapshot: Snapshot = None,
    offline: Offline = False,
    insecure: Insecure = [],
    certificates: Certificates = None,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Build the card image of a file; the lock beside it is used, or made if there is none."""
    chosen = parse(form)
    with sources(
        verbose=verbose, as_json=json, mirror=mirror, snapshot=snapshot, offline=offline
    ) as found:
        made = build_all(project(files, sets, found), found, out, chosen)
        found.emit(Note(_summary(made)))


def _summary(made: Outputs) -> str:
    if made.card is None:
        return f"wrote {', '.join(map(str, made.paths))}"
    image, mapped = made.card.image, made.card.map.mapped / 1e6
    return f"{image}: {mapped:.1f} MB to write, next: piimage run {image}"
