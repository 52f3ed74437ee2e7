"""`piimage check`: every error of a file at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from piimage.cli.options import Files, Sets
from piimage.cli.output import say, tell
from piimage.config.lacks import refuse_lacking
from piimage.config.load import load_all
from piimage.config.models import Appliance
from piimage.container.starts import refuse_unstartable

EXAMPLE = "Example: piimage check pi4.yml --set hostname=greenhouse"


def check(files: Files, sets: Sets = []) -> None:  # typer's way to say "none"
    """Validate FILE... and the container folders it names: every error as file:line:column."""
    appliance = load_all(files, sets, os.environ)
    refuse_unstartable(files, sets, os.environ, appliance)
    _refuse_ungranted(files, sets, appliance)
    for remark in refuse_lacking(files, sets, os.environ):
        tell(f"warning: {remark}")
    services = len(appliance.services)
    names = " + ".join(str(file) for file in files)
    say(f"{names}: good: {appliance.board}, {services} service{'s' if services != 1 else ''}")


def _refuse_ungranted(files: Sequence[Path], sets: Sequence[str], appliance: Appliance) -> None:
    """Refuse what images ask for beyond what was granted, as far as lock and store know them."""
    file = files[-1].with_suffix(".lock")
    if not file.exists():
        return  # the imports take as long as all the rest
    from piimage.lock import read_lock  # noqa: PLC0415
    from piimage.store import default_root  # noqa: PLC0415

    lock = read_lock(file)
    if not lock.images or not default_root().is_dir():
        return
    from piimage.config.places import image_places  # noqa: PLC0415
    from piimage.locking.grants import refuse_ungranted  # noqa: PLC0415
    from piimage.locking.images import stored_images  # noqa: PLC0415

    places = image_places(files, sets, os.environ)
    refuse_ungranted(appliance, lock.images, stored_images(default_root()).execution, places)
