"""`piimage bundle`: one signed file for update servers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer
from typer.core import TyperGroup

from piimage.build import plan
from piimage.cli.options import Files, Json, Origin, Sets, Verbose, with_groups
from piimage.cli.output import listening
from piimage.cli.session import open_inputs, read_card_project
from piimage.config.load import load
from piimage.config.models import Appliance
from piimage.deploy.bundle import make_bundle, source_of, verify
from piimage.durable import output_folder
from piimage.errors import InputError
from piimage.events import Note
from piimage.locking.fetching import make as make_steps
from piimage.locking.inputs import Inputs
from piimage.plan.slot import Version, signer_of
from piimage.run import Runner
from piimage.signing import Signer
from piimage.steps import Job
from piimage.store import Store, default_root

EXAMPLE = "Example: piimage bundle pi4.yml -o out"


class _Group(TyperGroup):
    """A group one of whose commands need not be named."""

    usual: ClassVar[str] = "make"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401  # typer's own
        known = {*self.commands, "--help"}
        return super().parse_args(
            ctx, args if not args or args[0] in known else [self.usual, *args]
        )


app = typer.Typer(
    cls=_Group, add_completion=False, rich_markup_mode=None, no_args_is_help=True,
    help="Bundles: one signed file for update servers.",
)  # fmt: skip


@app.callback()
def _bundle() -> None:
    """Bundles: one signed file for update servers."""


@app.command(epilog=EXAMPLE)
@with_groups
def make(
    files: Files,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder for NAME.swu.", readable=False)
    ] = Path("out"),
    keep_boot_firmware: Annotated[
        bool,
        typer.Option(
            "--keep-boot-firmware",
            help="Let a Pi 3 or Zero 2 W take the bundle even if its card has another boot "
            "firmware, which it keeps.",
        ),
    ] = False,
    sets: Sets = [],
    *,
    origin: Origin,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Write NAME.swu: the version of a file, signed; `make` may be left out."""
    require_signer(load(files, sets, os.environ), files)  # before the lock, which takes minutes
    with open_inputs(origin, verbose=verbose, as_json=json) as inputs, output_folder(out):
        project = read_card_project(files, sets, inputs)
        version = plan(project, inputs)
        job = make_steps(version.steps(), project.lock, inputs)
        made = write_bundle(
            version, job, project.name, inputs, out, other_firmware=keep_boot_firmware
        )
        size = made.path.stat().st_size / 1e6
        inputs.emit(Note(f"{made.path}: {size:.1f} MB, version {made.version}"))


def require_signer(appliance: Appliance, files: Sequence[Path]) -> Signer:
    """Return who signs bundles of an appliance; raises InputError ``bundle.no-signing``."""
    signer = signer_of(appliance)
    if signer is None:
        raise InputError(
            "bundle.no-signing", "a bundle is signed, and the file has no signing:",
            place=str(files[-1]),
            hint="add signing: with a key and a certificate, and write the card once",
        )  # fmt: skip
    return signer


@dataclass(frozen=True)
class Written:
    """A bundle that was written."""

    path: Path
    version: str


def write_bundle(
    version: Version, job: Job, name: str, inputs: Inputs, out: Path, *,
    other_firmware: bool = False,
) -> Written:  # fmt: skip
    """Write ``OUT/NAME.swu`` of a version with `signing:` whose steps are made."""
    signer = require_signer(version.appliance, [Path(name)])
    source = source_of(version, job, signer, inputs, other_firmware=other_firmware)
    bundle = make_bundle(source, inputs.runner)
    target = out / f"{name}.swu"
    bundle.write(target, version.file_mode)
    return Written(target, bundle.description.version)


@app.command("verify", epilog="Example: piimage bundle verify out/pi4.swu --cert signing.pem")
def verify_bundle(
    bundle: Annotated[
        Path, typer.Argument(metavar="FILE", help="The bundle (.swu).", readable=False)
    ],
    cert: Annotated[
        Path,
        typer.Option("--cert", help="Certificates (PEM) of the keys to trust.", readable=False),
    ],
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Check the signature of a bundle, and the digests of all that is in it."""
    with listening(verbose=verbose, as_json=json) as emit:
        for path in (bundle, cert):
            if not path.is_file():
                raise InputError(
                    "bundle.no-file", f"there is no file {str(path)!r}", place=str(path),
                    hint="name the bundle, and the certificate with --cert",
                )  # fmt: skip
        found = verify(bundle, cert, Runner(emit), Store(default_root()))
        emit(
            Note(
                f"{bundle}: signed; {found.name} for {found.board}, version {found.version}, "
                f"{len(found.parts)} parts"
            )
        )
