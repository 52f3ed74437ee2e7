"""`piimage build`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from piimage.build import build_card
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

EXAMPLE = "Example: piimage build pi4.yml -o out"


def build(
    files: Files,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the results.")] = Path("out"),
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
    with sources(
        verbose=verbose,
        as_json=json,
        mirror=mirror,
        snapshot=snapshot,
        offline=offline,
        insecure=insecure,
        certificates=certificates,
    ) as found:
        card = build_card(project(files, sets, found), found, out)
        mapped = card.map.mapped / 1e6
        found.emit(Note(f"{card.image}: {mapped:.1f} MB to write, next: piimage run {card.image}"))
