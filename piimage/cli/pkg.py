"""`piimage pkg`: container folders to OCI images."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from piimage.cli.options import Json, Origin, Verbose, fetching
from piimage.cli.output import listening, put, say
from piimage.events import Listener, Note
from piimage.run import Runner
from piimage.store import Store, default_root

# What composes is imported where it is used: that is most of the time that a small change takes.
if TYPE_CHECKING:
    from piimage.locking.inputs import Inputs
    from piimage.pkg.image import Built
    from piimage.pkg.listing import Row
    from piimage.pkg.source import Source

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="The container folder.", readable=False)
]
Org = Annotated[
    str, typer.Option("--org", help="What stands before the name: TEAM, or HOST:PORT/TEAM.")
]
Tag = Annotated[
    str, typer.Option("--tag", help="The tag; {{.Hash}} in it is the hash of the content.")
]
Platforms = Annotated[
    list[str],
    typer.Option("--platform", help="linux/amd64: for that as well as for linux/arm64."),
]
LockFile = Annotated[
    Path | None,
    typer.Option(
        "--lock", metavar="FILE", help="The lock, instead of DIR/service.lock.", readable=False
    ),
]
Locked = Annotated[bool, typer.Option("--locked", help="Fail where the lock would have to change.")]
Recipe = Annotated[
    Path | None,
    typer.Option(
        "--dockerfile", help="Build this, even where there is a service.yml.", readable=False
    ),
]
Context = Annotated[
    Path | None,
    typer.Option("--context", help="What DIR may take files from; else DIR alone.", readable=False),
]
Arguments = Annotated[
    list[str],
    typer.Option("--build-arg", metavar="NAME=VALUE", help="Argument of a Dockerfile."),
]
Credentials = Annotated[
    Path | None,
    typer.Option(
        "--creds-file", help="File with USER:PASSWORD, instead of `skopeo login`.", readable=False
    ),
]
_ORG: Final = "piimage"
_HASH: Final = "{{.Hash}}"


@dataclass(frozen=True)
class _Asked:
    """What is to be built: the folder, how, for what, and under which name."""

    folder: Path
    org: str
    tag: str
    platforms: tuple[str, ...] = ()
    lock: Path | None = None
    locked: bool = False
    moving: frozenset[str] = frozenset()
    dockerfile: Path | None = None
    context: Path | None = None
    arguments: tuple[str, ...] = ()

    def source(self) -> Source:
        from piimage.pkg.source import open_source  # noqa: PLC0415

        pairs = (argument.partition("=") for argument in self.arguments)
        # As docker does: a name alone has its value from the environment.
        values = {name: text if sign else os.environ.get(name, "") for name, sign, text in pairs}
        return open_source(self.folder, self.dockerfile, self.context, values)

    def build(self, inputs: Inputs) -> Built:
        from piimage.pkg.build import build as build_image  # noqa: PLC0415
        from piimage.pkg.locking import Pins, lock_path  # noqa: PLC0415
        from piimage.pkg.source import platforms  # noqa: PLC0415

        wanted = platforms(self.platforms)
        source = self.source()
        pins = Pins(self.lock or lock_path(source), self.moving, self.locked)
        return build_image(source, wanted, pins, inputs, self.org, self.tag)


def _inputs(origin: Origin, emit: Listener) -> Inputs:
    from piimage.cli.sources import sources_of  # noqa: PLC0415

    return sources_of(origin, Store(default_root()), Runner(emit), emit)


@app.command("build", epilog="Example: piimage pkg build services/hello_world --load")
@fetching
def build(
    folder: Folder,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", metavar="FILE", help="Write an archive as well.", readable=False
        ),
    ] = None,
    form: Annotated[str, typer.Option("--format", help="The archive's: oci or docker.")] = "oci",
    load: Annotated[bool, typer.Option("--load", help="Load it into the Docker engine.")] = False,
    push: Annotated[bool, typer.Option("--push", help="Send it to its registry.")] = False,
    org: Org = _ORG,
    tag: Tag = _HASH,
    platform: Platforms = [],
    lock: LockFile = None,
    locked: Locked = False,
    update: Annotated[
        list[str],
        typer.Option("--update", metavar="NAME", help="Move the pin of this package or image."),
    ] = [],
    update_all: Annotated[bool, typer.Option("--update-all", help="Move every pin.")] = False,
    dockerfile: Recipe = None,
    context: Context = None,
    build_arg: Arguments = [],
    credentials: Credentials = None,
    *,
    origin: Origin,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Build the image of a container folder: composed, or by buildx where it has a Dockerfile."""
    moving = frozenset({"*"} if update_all else update)
    asked = _Asked(
        folder, org, tag, tuple(platform), lock, locked, moving, dockerfile, context,
        tuple(build_arg),
    )  # fmt: skip
    with listening(verbose=verbose, as_json=json) as emit:
        inputs = _inputs(origin, emit)
        made = asked.build(inputs)
        emit(Note(f"{made.reference}: {made.descriptor.digest}, {made.size / 1e6:.2f} MB"))
        if out is not None:
            from piimage.pkg.delivery import write_file  # noqa: PLC0415

            write_file(made, out, form, inputs)
            emit(Note(f"wrote {out}"))
        if load:
            from piimage.pkg.delivery import load as load_image  # noqa: PLC0415

            emit(Note(f"the engine has it as {load_image(made, inputs)}"))
        if push:
            _push(made, credentials, inputs)


@app.command("push", epilog="Example: piimage pkg push services/bmp280 --org localhost:5000/team")
@fetching
def push(
    folder: Folder,
    org: Org = _ORG,
    tag: Tag = _HASH,
    platform: Platforms = [],
    lock: LockFile = None,
    locked: Locked = False,
    dockerfile: Recipe = None,
    context: Context = None,
    build_arg: Arguments = [],
    credentials: Credentials = None,
    *,
    origin: Origin,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Build what is not built yet, and send it to its registry; only missing blobs travel."""
    asked = _Asked(
        folder, org, tag, tuple(platform), lock, locked, frozenset(), dockerfile, context,
        tuple(build_arg),
    )  # fmt: skip
    with listening(verbose=verbose, as_json=json) as emit:
        inputs = _inputs(origin, emit)
        _push(asked.build(inputs), credentials, inputs)


def _push(made: Built, credentials: Path | None, inputs: Inputs) -> None:
    from piimage.pkg.delivery import push as push_image  # noqa: PLC0415

    inputs.emit(Note(f"pushed {push_image(made, credentials, inputs)}"))


@app.command("show-tag", epilog="Example: piimage pkg show-tag services/hello_world")
def show_tag(
    folder: Folder,
    org: Org = _ORG,
    tag: Tag = _HASH,
    dockerfile: Recipe = None,
    context: Context = None,
) -> None:
    """Print what the image of a container folder is called as the folder is now."""
    from piimage.pkg.build import show_tag as reference_of  # noqa: PLC0415

    asked = _Asked(folder, org, tag, dockerfile=dockerfile, context=context)
    say(str(reference_of(asked.source(), Runner(), org, tag)))


@app.command("ls", epilog="Example: piimage pkg ls --json")
def list_images(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List the images that were built: name, tag, digest, platforms, size, what is attached."""
    from piimage.oci.layout import Layout  # noqa: PLC0415
    from piimage.pkg.listing import rows  # noqa: PLC0415

    found = rows(Layout(Store(default_root())))
    if json:
        import json as format_json  # noqa: PLC0415

        put(format_json.dumps([dataclasses.asdict(row) for row in found], indent=1) + "\n")
        return
    for row in found:
        say(_line(row))


def _line(row: Row) -> str:
    platforms = ",".join(row.platforms)
    attached = ",".join(one.type for one in row.referrers) or "-"
    size = f"{row.size / 1e6:.2f} MB"
    return f"{row.name}:{row.tag}  {row.digest}  {platforms}  {size}  {attached}"
