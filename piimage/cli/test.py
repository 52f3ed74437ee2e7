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
from piimage.cli.session import open_inputs, read_card_project
from piimage.errors import PiimageError
from piimage.testing.report import failures, junit, save
from piimage.testing.verify import require_testable, verify

EXAMPLE = "Example: piimage test pi4.yml --junit out/pi4.xml"


@fetching
def test(
    files: Files,
    junit_file: Annotated[
        Path | None,
        typer.Option(
            "--junit",
            metavar="FILE",
            help="Write the results to FILE as JUnit XML.",
            readable=False,
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Timeout in seconds for all services to be healthy (default: that of `test:`).",
        ),
    ] = None,
    sets: Sets = [],
    *,
    origin: Origin,
    verbose: Verbose = False,
) -> None:
    """Boot a file in QEMU, wait until its services are healthy, run the checks of `test:`."""
    with open_inputs(origin, verbose=verbose) as inputs:
        project = read_card_project(files, sets, inputs)
        require_testable(project.appliance, project.board)
        with tempfile.TemporaryDirectory(prefix="piimage-") as folder:
            image = build_card(project, inputs, Path(folder)).image
            outcomes = verify(
                project.appliance, project.board, image, inputs.runner,
                timeout=timeout, listen=_show if verbose else _ignore,
            )  # fmt: skip
    for outcome in outcomes:
        say(outcome.line)
    if junit_file is not None:
        save(junit_file, junit(project.name, outcomes))
    if failed := failures(outcomes):
        names = ", ".join(outcome.name for outcome in failed)
        raise PiimageError(
            "testing.failed",
            f"{len(failed)} of {len(outcomes)} failed: {names}",
            hint="the lines above give the reasons; -v shows the console",
        )


def _show(data: bytes) -> None:
    sys.stderr.buffer.write(data)
    sys.stderr.flush()


def _ignore(data: bytes) -> None:
    """Discard the console's output."""
