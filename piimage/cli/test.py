"""`piimage test`."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from piimage.build import build_card
from piimage.cli.hosts import InventoryFile, SshConfig, hosts, ssh
from piimage.cli.options import Files, Origin, Sets, Verbose, with_groups
from piimage.cli.output import listening, say
from piimage.cli.pins import with_host_key
from piimage.cli.secret_values import Secrets, read_secrets, require_secrets
from piimage.cli.session import open_inputs, read_card_project
from piimage.config.load import load
from piimage.deploy.hosts import Host
from piimage.errors import InputError, PiimageError
from piimage.flash.able import capabilities_of
from piimage.flash.provision import secret_files
from piimage.run import Runner
from piimage.testing.labgrid import MAIN_TARGET, read_target
from piimage.testing.report import Outcome, failures, junit, save
from piimage.testing.verify import require_testable, verify, verify_pi

EXAMPLE = "Example: piimage test pi4.yml --junit out/pi4.xml"


@with_groups
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
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="HOST",
            help="Run the checks on this Pi instead of in QEMU: [USER@]HOST[:PORT], a host of "
            "--inventory, or a target of --labgrid.",
        ),
    ] = None,
    inventory: InventoryFile = None,
    labgrid: Annotated[
        Path | None,
        typer.Option(
            metavar="ENV.yaml",
            help="labgrid's environment file with the Pi (default target: main).",
            readable=False,
        ),
    ] = None,
    ssh_config: SshConfig = None,
    sets: Sets = [],
    secrets: Secrets = [],
    *,
    origin: Origin,
    verbose: Verbose = False,
) -> None:
    """Boot a file in QEMU, wait until its services are healthy, run the checks of `test:`.

    With --to, --inventory or --labgrid, nothing is built or booted: the checks run on a Pi that
    runs the file already.
    """
    values = read_secrets(secrets)
    if to is None and inventory is None and labgrid is None:
        suite, outcomes = _in_qemu(files, timeout, sets, origin, values, verbose=verbose)
    else:
        _require_none(values)
        appliance = load(files, sets, os.environ)
        (host,) = with_host_key([_host(to, inventory, labgrid)], appliance)
        with listening(verbose=verbose, as_json=False) as emit:
            connection = ssh([host], ssh_config, Runner(emit))
            outcomes = verify_pi(appliance, connection, host, timeout=timeout)
        suite = f"{files[-1].stem} on {host.name}"
    _report(suite, outcomes, junit_file)


def _require_none(secrets: Mapping[str, bytes]) -> None:
    """Raise InputError ``secrets.bad-value`` for secrets that are for an emulated card only."""
    if secrets:
        raise InputError(
            "secrets.bad-value", "the Pi has secrets of its own", place="--secret",
            hint="set them there: piimage secret set HOST NAME",
        )  # fmt: skip


def _in_qemu(
    files: list[Path],
    timeout: float | None,
    sets: list[str],
    origin: Origin,
    secrets: Mapping[str, bytes],
    *,
    verbose: bool,
) -> tuple[str, tuple[Outcome, ...]]:
    with open_inputs(origin, verbose=verbose) as inputs:
        project = read_card_project(files, sets, inputs)
        require_testable(project.appliance, project.board)
        with tempfile.TemporaryDirectory(prefix="piimage-") as folder:
            image = build_card(project, inputs, Path(folder)).image
            if capabilities := capabilities_of(image):
                require_secrets(capabilities.secrets, secrets)
            outcomes = verify(
                project.appliance, project.board, image, inputs.runner,
                timeout=timeout, listen=_show if verbose else _ignore,
                files=secret_files(secrets),
            )  # fmt: skip
    return project.name, outcomes


def _host(to: str | None, inventory: str | None, labgrid: Path | None) -> Host:
    """Return the one Pi that the options name; raises InputError ``testing.one-host``."""
    if labgrid is not None and inventory is None:
        return read_target(labgrid, to or MAIN_TARGET, os.environ)
    chosen = hosts([to] if to else [], inventory)
    if len(chosen) != 1 or labgrid is not None:
        raise InputError(
            "testing.one-host",
            "the checks run on one Pi at a time, and the options name "
            f"{'an inventory and a labgrid file' if labgrid else len(chosen)}",
            place="--to",
            hint="name one host with --to, and at most one file with it",
        )
    return chosen[0]


def _report(suite: str, outcomes: Sequence[Outcome], junit_file: Path | None) -> None:
    for outcome in outcomes:
        say(outcome.line)
    if junit_file is not None:
        save(junit_file, junit(suite, outcomes))
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
