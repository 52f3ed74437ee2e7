"""`piimage pkg`: build OCI images of container folders."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from piimage.cli.options import Json, Origin, Verbose, with_groups
from piimage.cli.output import listening, put, say
from piimage.events import Listener, Note
from piimage.run import Runner
from piimage.store import Store, default_root

# Modules that build are imported where they are used: importing them takes most of the time of a
# build with few changes.
if TYPE_CHECKING:
    from piimage.locking.inputs import Inputs
    from piimage.oci.reference import Reference
    from piimage.pkg.build import ImageRequest
    from piimage.pkg.image import Built
    from piimage.pkg.listing import Row
    from piimage.pkg.source import Source

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Container folder.", readable=False)]
Org = Annotated[
    str, typer.Option("--org", help="Prefix of the image name: TEAM, or HOST:PORT/TEAM.")
]
Tag = Annotated[
    str, typer.Option("--tag", help="Tag; {{.Hash}} in it stands for the hash of the content.")
]
Platforms = Annotated[
    list[str],
    typer.Option("--platform", help="Build for linux/amd64 in addition to linux/arm64."),
]
LockFile = Annotated[
    Path | None,
    typer.Option(
        "--lock", metavar="FILE", help="Lock file (default: DIR/service.lock).", readable=False
    ),
]
Locked = Annotated[bool, typer.Option("--locked", help="Fail if the lock would change.")]
Recipe = Annotated[
    Path | None,
    typer.Option(
        "--dockerfile", help="Build this Dockerfile, even if DIR has a service.yml.", readable=False
    ),
]
Context = Annotated[
    Path | None,
    typer.Option(
        "--context",
        help="Folder that the build may read files from (default: DIR).",
        readable=False,
    ),
]
Arguments = Annotated[
    list[str],
    typer.Option(
        "--build-arg", metavar="NAME=VALUE", help="Build argument of a Dockerfile; repeatable."
    ),
]
Credentials = Annotated[
    Path | None,
    typer.Option(
        "--creds-file",
        help="File with USER:PASSWORD for the registry, instead of `skopeo login`.",
        readable=False,
    ),
]


@dataclass(frozen=True)
class _Request:
    """The image to build: its folder and name; each field is an option."""

    folder: Folder
    org: Org = "piimage"
    tag: Tag = "{{.Hash}}"
    platform: Platforms = field(default_factory=list)
    lock: LockFile = None
    locked: Locked = False
    dockerfile: Recipe = None
    context: Context = None
    build_arg: Arguments = field(default_factory=list)

    def source(self) -> Source:
        from piimage.pkg.source import open_source  # noqa: PLC0415

        pairs = (argument.partition("=") for argument in self.build_arg)
        # As with docker, the environment gives the value of an argument without `=`.
        values = {name: text if sign else os.environ.get(name, "") for name, sign, text in pairs}
        return open_source(self.folder, self.dockerfile, self.context, values)

    def build(self, inputs: Inputs, moving: frozenset[str] = frozenset()) -> Built:
        from piimage.pkg.build import build as build_image  # noqa: PLC0415

        return build_image(self._image(moving), inputs)

    def reference(self, inputs: Inputs) -> Reference:
        from piimage.pkg.build import show_tag as reference_of  # noqa: PLC0415

        return reference_of(self._image(frozenset()), inputs)

    def _image(self, moving: frozenset[str]) -> ImageRequest:
        from piimage.pkg.build import ImageRequest  # noqa: PLC0415
        from piimage.pkg.locking import Pins, lock_path  # noqa: PLC0415
        from piimage.pkg.source import platforms  # noqa: PLC0415

        source = self.source()
        pins = Pins(self.lock or lock_path(source), moving, self.locked)
        return ImageRequest(source, platforms(tuple(self.platform)), pins, self.org, self.tag)


def _inputs(origin: Origin, emit: Listener) -> Inputs:
    from piimage.cli.inputs import inputs_of  # noqa: PLC0415

    return inputs_of(origin, Store(default_root()), Runner(emit), emit)


@app.command("build", epilog="Example: piimage pkg build services/hello_world --load")
@with_groups
def build(
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            metavar="FILE",
            help="Also write the image to an archive.",
            readable=False,
        ),
    ] = None,
    form: Annotated[
        str, typer.Option("--format", help="Format of the file: oci, docker or sif.")
    ] = "oci",
    load: Annotated[
        bool, typer.Option("--load", help="Load the image into the Docker engine.")
    ] = False,
    push: Annotated[bool, typer.Option("--push", help="Push the image to its registry.")] = False,
    *,
    request: _Request,
    update: Annotated[
        list[str],
        typer.Option("--update", metavar="NAME", help="Update this package or image; repeatable."),
    ] = [],
    update_all: Annotated[
        bool, typer.Option("--update-all", help="Update every package and image.")
    ] = False,
    credentials: Credentials = None,
    origin: Origin,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Build the image of a container folder from its service.yml or, by buildx, its Dockerfile."""
    moving = frozenset({"*"} if update_all else update)
    with listening(verbose=verbose, as_json=json) as emit:
        inputs = _inputs(origin, emit)
        built = request.build(inputs, moving)
        emit(Note(f"{built.reference}: {built.descriptor.digest}, {built.size / 1e6:.2f} MB"))
        if out is not None:
            from piimage.pkg.delivery import write_file  # noqa: PLC0415

            write_file(built, out, form, inputs)
            emit(Note(f"wrote {out}"))
        if load:
            from piimage.pkg.delivery import load as load_image  # noqa: PLC0415

            emit(Note(f"loaded into the engine as {load_image(built, inputs)}"))
        if push:
            _push(built, credentials, inputs)


@app.command("push", epilog="Example: piimage pkg push services/bmp280 --org localhost:5000/team")
@with_groups
def push(
    request: _Request,
    credentials: Credentials = None,
    *,
    origin: Origin,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Build the image if needed, and push it to its registry; only missing blobs are sent."""
    with listening(verbose=verbose, as_json=json) as emit:
        inputs = _inputs(origin, emit)
        _push(request.build(inputs), credentials, inputs)


def _push(built: Built, credentials: Path | None, inputs: Inputs) -> None:
    from piimage.pkg.delivery import push as push_image  # noqa: PLC0415

    inputs.emit(Note(f"pushed {push_image(built, credentials, inputs)}"))


@app.command(
    "manifest", epilog="Example: piimage pkg manifest services/bmp280 --org localhost:5000/team"
)
@with_groups
def manifest(
    request: _Request,
    credentials: Credentials = None,
    *,
    origin: Origin,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Join the pushed images TAG-arm64 and TAG-amd64 of a folder under the one name TAG."""
    from piimage.pkg.delivery import registry_of  # noqa: PLC0415
    from piimage.pkg.manifest import join  # noqa: PLC0415

    with listening(verbose=verbose, as_json=json) as emit:
        inputs = _inputs(origin, emit)
        reference = request.reference(inputs)
        with registry_of(reference, credentials, inputs) as registry:
            pushed, platforms = join(reference, registry)
        emit(Note(f"pushed {pushed}: {', '.join(platforms)}"))


@app.command("show-tag", epilog="Example: piimage pkg show-tag services/hello_world")
@with_groups
def show_tag(
    request: _Request,
    *,
    origin: Origin,
    verbose: Verbose = False,
) -> None:
    """Print the image name and tag that a build of a container folder gives; lock it if needed."""
    with listening(verbose=verbose, as_json=False) as emit:
        say(str(request.reference(_inputs(origin, emit))))


@app.command("ls", epilog="Example: piimage pkg ls --json")
def list_images(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List the built images: name, tag, digest, platforms, size, attached artifacts."""
    from piimage.oci.layout import Layout  # noqa: PLC0415
    from piimage.pkg.listing import rows  # noqa: PLC0415

    images = rows(Layout(Store(default_root())))
    if json:
        import json as format_json  # noqa: PLC0415

        put(format_json.dumps([dataclasses.asdict(image) for image in images], indent=1) + "\n")
        return
    for image in images:
        say(_line(image))


def _line(row: Row) -> str:
    platforms = ",".join(row.platforms)
    attached = ",".join(referrer.type for referrer in row.referrers) or "-"
    size = f"{row.size / 1e6:.2f} MB"
    return f"{row.name}:{row.tag}  {row.digest}  {platforms}  {size}  {attached}"
