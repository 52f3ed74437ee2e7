"""`piimage cache`: the store of packages, layers and file systems, and the images in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from piimage import cache
from piimage.cli.options import Registries, Verbose, with_groups
from piimage.cli.output import listening, say
from piimage.events import Listener, Note
from piimage.run import Runner
from piimage.store import Store, default_root

if TYPE_CHECKING:
    from piimage.oci.registry import Registry

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


def _show(title: str, summary: cache.Summary) -> None:
    say(f"{title}: {summary.blobs} blobs, {summary.size / 1e6:.1f} MB, {summary.steps} steps")


@app.command("ls")
def list_store() -> None:
    """Show where the store is and how much it holds."""
    store = Store(default_root())
    _show(str(store.root), cache.summary(store))


@app.command("gc", epilog="Example: piimage cache gc --unused 7")
def collect(
    unused: Annotated[
        float, typer.Option(help="Delete entries that were not used for N days.", metavar="N")
    ] = 30,
) -> None:
    """Delete entries that were not used recently; a later build makes them again if needed."""
    _show("removed", cache.collect(Store(default_root()), unused))


@app.command("export", epilog="Example: piimage cache export store.tar")
def export(
    file: Annotated[Path, typer.Argument(help="Tar file to write.", readable=False)],
    image: Annotated[
        str | None,
        typer.Option("--image", metavar="IMAGE", help="Write this image alone, as OCI archive."),
    ] = None,
) -> None:
    """Write the whole store, or one image of it, to a file for a machine without network."""
    store = Store(default_root())
    if image is None:
        _show(f"wrote {file}", cache.export(store, file))
        return
    from piimage.oci.layout import Layout  # noqa: PLC0415  # only images need it
    from piimage.pkg.mirroring import save  # noqa: PLC0415

    save(image, file, Layout(store))
    say(f"wrote {image} to {file}")


@app.command("import", epilog="Example: piimage cache import store.tar")
def merge(
    file: Annotated[
        Path, typer.Argument(help="File that `export` wrote, or an OCI archive.", readable=False)
    ],
) -> None:
    """Add an exported store, or images, to this store; check every blob against its digest."""
    from piimage.oci.layout import Layout  # noqa: PLC0415  # as above
    from piimage.pkg.mirroring import is_archive, take  # noqa: PLC0415

    store = Store(default_root())
    if is_archive(file):
        for name in take(file, Layout(store)):
            say(f"added {name}")
        return
    _show(f"added from {file}", cache.merge(store, file))


@app.command("rm", epilog="Example: piimage cache rm piimage/bmp280:v1")
def remove(
    image: Annotated[
        str, typer.Argument(help="Image in the store, as `pkg ls` names it.", metavar="IMAGE")
    ],
) -> None:
    """Remove the name of an image; `gc` deletes what nothing else uses."""
    from piimage.oci.layout import Layout  # noqa: PLC0415  # as above
    from piimage.pkg.mirroring import remove as remove_name  # noqa: PLC0415

    remove_name(image, Layout(Store(default_root())))
    say(f"removed {image}")


def _registry(access: Registries, emit: Listener) -> Registry:
    from piimage.oci.layout import Layout  # noqa: PLC0415  # only these two verbs need registries
    from piimage.oci.registry import Access, Registry  # noqa: PLC0415

    known = Access(frozenset(access.insecure), access.certificates, access.auth_file)
    return Registry(Layout(Store(default_root())), Runner(emit), known)


@app.command("pull", epilog="Example: piimage cache pull localhost:5000/team/bmp280:v1")
@with_groups
def pull(
    image: Annotated[str, typer.Argument(help="Image in a registry.", metavar="IMAGE")],
    platform: Annotated[
        str, typer.Option("--platform", help="linux/arm64 or linux/amd64.")
    ] = "linux/arm64",
    *,
    access: Registries,
    verbose: Verbose = False,
) -> None:
    """Pull an image of a registry into the store, with its bill of materials and attestations."""
    from piimage.oci.reference import parse  # noqa: PLC0415
    from piimage.pkg.mirroring import pull as pull_image  # noqa: PLC0415
    from piimage.pkg.source import one_platform  # noqa: PLC0415

    wanted, reference = one_platform(platform), parse(image)
    with listening(verbose=verbose, as_json=False) as emit:
        pulled = pull_image(reference, wanted, _registry(access, emit))
        emit(Note(f"{reference}: {pulled.descriptor.digest}, {pulled.config.platform}"))


@app.command(
    "push", epilog="Example: piimage cache push piimage/bmp280:v1 --as HOST:5000/bmp280:v1"
)
@with_groups
def push(
    image: Annotated[
        str, typer.Argument(help="Image in the store, as `pkg ls` names it.", metavar="IMAGE")
    ],
    target: Annotated[
        str | None,
        typer.Option("--as", metavar="IMAGE", help="Name in the registry (default: the same)."),
    ] = None,
    *,
    access: Registries,
    verbose: Verbose = False,
) -> None:
    """Push an image of the store to a registry, with what is attached to it."""
    from piimage.pkg.mirroring import push as push_image  # noqa: PLC0415

    with listening(verbose=verbose, as_json=False) as emit:
        emit(Note(f"pushed {push_image(image, target, _registry(access, emit))}"))
