"""`piimage diff`."""

from __future__ import annotations

import dataclasses
import json as encoder
from pathlib import Path
from typing import Annotated

import typer

from piimage.cli.options import Json
from piimage.cli.output import put, say
from piimage.differences import differences, manifest_path, read_manifest

EXAMPLE = "Example: piimage diff old/pi4.img out/pi4.img"

_SECRETS = "; files that only their owner may read were not compared"


def diff(
    before: Annotated[
        Path, typer.Argument(help="The old image, or its .manifest.json.", readable=False)
    ],
    after: Annotated[
        Path, typer.Argument(help="The new image, or its .manifest.json.", readable=False)
    ],
    json: Json = False,
) -> None:
    """List the packages, layers and files that differ: + added, - removed, ~ changed."""
    old, new = (read_manifest(manifest_path(path)) for path in (before, after))
    changes = differences(old, new)
    for change in changes:
        if json:
            put(encoder.dumps(dataclasses.asdict(change)) + "\n")
        else:
            say(str(change))
    if not changes and not json:
        same = old.identity == new.identity
        rest = "" if old.complete and new.complete else _SECRETS
        say(f"the same{rest}" if same else f"the same files, laid out differently{rest}")
