"""`piimage run`."""

from __future__ import annotations

import datetime
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from piimage.board import DiskKind
from piimage.build import build_card
from piimage.cli.options import Files, Origin, Sets, Verbose, with_groups
from piimage.cli.output import tell
from piimage.cli.secret_values import Secrets, read_secrets
from piimage.cli.session import open_inputs, read_card_project
from piimage.emulator.drive import usual_kind
from piimage.emulator.session import Options, boot
from piimage.errors import InputError
from piimage.events import Warning
from piimage.firmware.manifest import board_of
from piimage.flash.able import capabilities_of, unset_secrets
from piimage.flash.provision import Settings, secret_files
from piimage.locking.inputs import Inputs
from piimage.testing.shell import card_with

EXAMPLE = "Example: piimage run out/pi4.img --until HELLO --timeout 120"


@with_groups
def run(
    files: Files,
    until: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Exit with 0 as soon as the console shows TEXT."),
    ] = None,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="Timeout of --until in seconds.")
    ] = 300,
    ssh_port: Annotated[
        int | None,
        typer.Option(metavar="PORT", help="Forward this local port to SSH in the guest."),
    ] = None,
    tap: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Connect the guest's network to this tap interface, such as one on a bridge.",
        ),
    ] = None,
    cpus: Annotated[int | None, typer.Option(help="Number of processors.")] = None,
    mem: Annotated[int | None, typer.Option(help="Memory in MiB.")] = None,
    disk: Annotated[int | None, typer.Option(help="Size of the card in MiB.")] = None,
    kind: Annotated[
        DiskKind | None,
        typer.Option(
            "--from",
            help="Boot from this kind of disk, if the board has it (default: card; cd for an ISO).",
        ),
    ] = None,
    disk_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Keep the guest's changes in FILE for the next run.",
            readable=False,
        ),
    ] = None,
    restarts: Annotated[
        int, typer.Option(min=0, help="Number of restarts of the machine after which it ends.")
    ] = Options.restarts,
    eeprom: Annotated[
        datetime.datetime | None,
        typer.Option(
            metavar="DATE",
            formats=["%Y-%m-%d"],
            help="Read the card as a boot loader of this date does (default: the present one).",
        ),
    ] = None,
    sets: Sets = [],
    secrets: Secrets = [],
    *,
    origin: Origin,
    verbose: Verbose = False,
) -> None:
    """Boot an image in QEMU, or build YAML files and boot the result; Ctrl-C ends it."""
    if tap is not None and ssh_port is not None:
        raise InputError(
            "emulator.tap-and-port",
            "--tap and --ssh-port exclude each other: a port is forwarded only by NAT",
            place="--ssh-port",
            hint="with --tap, connect to the guest's own address: `piimage discover` lists it",
        )
    values = read_secrets(secrets)
    if values and disk_file is not None:
        raise InputError(
            "emulator.secret-and-disk-file",
            "--secret is for a card that ends with the run, not for the one of --disk-file",
            place="--secret",
            hint="set it in the guest, which keeps it: piimage secret set root@localhost:PORT NAME",
        )
    with open_inputs(origin, verbose=verbose) as inputs:
        options = Options(
            cpus, mem, disk and disk << 20, disk_file, ssh_port=ssh_port, tap=tap,
            eeprom=eeprom and eeprom.date(), restarts=restarts,
        )  # fmt: skip
        with (
            card_image(files, sets, inputs) as built,
            with_secrets(built, values, inputs) as image,
        ):
            board = board_of(image)
            options = replace(options, kind=kind or usual_kind(image))
            screen = _Screen()
            with boot(image, board, inputs.runner, options, listen=screen.show) as machine:
                if machine.ssh_port is not None:
                    tell(f"ssh: ssh -p {machine.ssh_port} root@localhost")
                if until is None:
                    machine.wait_end(float("inf"))
                else:
                    machine.wait_for(until, timeout)
            # Only now: the rest of a line may come while the machine is stopped.
            screen.end_line()


@contextmanager
def card_image(files: list[Path], sets: list[str], inputs: Inputs) -> Iterator[Path]:
    """Yield the given image, or a temporary one that is built from the YAML files."""
    if files[0].suffix not in (".yml", ".yaml"):
        yield files[0]
        return
    with tempfile.TemporaryDirectory(prefix="piimage-") as folder:
        project = read_card_project(files, sets, inputs)
        yield build_card(project, inputs, Path(folder)).image


@contextmanager
def with_secrets(image: Path, values: Mapping[str, bytes], inputs: Inputs) -> Iterator[Path]:
    """Yield a temporary copy of the card `image` with secrets; the image itself without any."""
    unset = unset_secrets(Settings(secrets=values), capabilities_of(image))
    for name in unset:
        inputs.emit(Warning(f"the secret {name} is not set: add --secret {name}=FILE"))
    if not values:
        yield image
        return
    with tempfile.TemporaryDirectory(prefix="piimage-") as folder:
        files = secret_files(values)
        yield card_with(inputs.runner, image, board_of(image), Path(folder), files)


@dataclass
class _Screen:
    """Shows the console on this terminal."""

    in_line: bool = False
    """Whether the last line has not ended."""

    def show(self, data: bytes) -> None:
        """Write `data` at once."""
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
        self.in_line = not data.endswith(b"\n")

    def end_line(self) -> None:
        """End the last line if need be."""
        if self.in_line:
            self.show(b"\r\n")
