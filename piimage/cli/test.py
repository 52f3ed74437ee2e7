"""`piimage test`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from piimage.build import build_card
from piimage.cli.options import Files, Origin, Sets, Verbose, fetching
from piimage.cli.output import say
from piimage.cli.session import project_of_card, sources
from piimage.errors import PiimageError
from piimage.testing.report import failures, junit, save
from piimage.testing.verify import require_testable, verify

EXAMPLE = "Example: piimage test pi4.yml --junit out/pi4.xml"


@fetching
def test(
    files: Files,
    junit_file: Annotated[
        Path | None,
        typer.Option("--junit", help="Write the outcomes here, as JUnit's XML.", readable=False),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds until every service is up; else the file's.")
    ] = None,
    sets: Sets = [],
    *,
    origin: Origin,
    verbose: Verbose = False,
) -> None:
    """Boot a file in the emulator, wait for its services, and make the checks of `test:`."""
    with sources(origin, verbose=verbose) as found:
        built = project_of_card(files, sets, found)
        require_testable(built.appliance, built.board)
        with tempfile.TemporaryDirectory(prefix="piimage-") as folder:
            image = build_card(built, found, Path(folder)).image
            outcomes = verify(
                built.appliance, built.board, image, found.runner,
                timeout=timeout, listen=_show if verbose else _ignore,
            )  # fmt: skip
    for one in outcomes:
        say(one.line)
    if junit_file is not None:
        save(junit_file, junit(built.name, outcomes))
    if failed := failures(outcomes):
        raise PiimageError(
            "testing.failed",
            f"{len(failed)} of {len(outcomes)} failed: {', '.join(one.name for one in failed)}",
            hint="-v shows the console; the reasons are above",
        )


def _show(data: bytes) -> None:
    sys.stderr.buffer.write(data)
    sys.stderr.flush()


def _ignore(data: bytes) -> None:
    """Let the console be silent."""
