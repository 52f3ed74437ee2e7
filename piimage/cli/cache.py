"""`piimage cache`: the store of packages, layers and file systems."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from piimage import cache
from piimage.cli.output import say
from piimage.store import Store, default_root

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
) -> None:
    """Write the whole store to one file, for a machine without network."""
    _show(f"wrote {file}", cache.export(Store(default_root()), file))


@app.command("import", epilog="Example: piimage cache import store.tar")
def merge(
    file: Annotated[Path, typer.Argument(help="Tar file that `export` wrote.", readable=False)],
) -> None:
    """Add an exported store to this one; check every blob against its digest."""
    _show(f"added from {file}", cache.merge(Store(default_root()), file))
