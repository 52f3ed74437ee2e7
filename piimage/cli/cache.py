"""`piimage cache`: the store of packages, layers and file systems."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from piimage import cache
from piimage.cli.output import say
from piimage.store import Store, default_root

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


def _say(what: str, found: cache.Summary) -> None:
    say(f"{what}: {found.blobs} blobs, {found.size / 1e6:.1f} MB, {found.steps} steps")


@app.command("ls")
def list_store() -> None:
    """Say where the store is and how much it holds."""
    store = Store(default_root())
    _say(str(store.root), cache.summary(store))


@app.command("gc", epilog="Example: piimage cache gc --unused 7")
def collect(
    unused: Annotated[float, typer.Option(help="Days without use after which a thing goes.")] = 30,
) -> None:
    """Remove what was not used for some days; what a build needs later is made again."""
    _say("removed", cache.collect(Store(default_root()), unused))


@app.command("export", epilog="Example: piimage cache export store.tar")
def export(file: Annotated[Path, typer.Argument(help="The tar to write.", readable=False)]) -> None:
    """Write the whole store to one file, for a machine without network."""
    _say(f"wrote {file}", cache.export(Store(default_root()), file))


@app.command("import", epilog="Example: piimage cache import store.tar")
def merge(
    file: Annotated[Path, typer.Argument(help="What `export` wrote.", readable=False)],
) -> None:
    """Add an exported store to this one; every blob is checked against its digest."""
    _say(f"added from {file}", cache.merge(Store(default_root()), file))
