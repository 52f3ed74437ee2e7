"""`piimage check`: report every error of a file at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from piimage.cli.options import Files, Json, Sets
from piimage.cli.output import PlainLines, json_lines, say
from piimage.config.lacks import refuse_lacking
from piimage.config.load import load_all
from piimage.config.models import Appliance
from piimage.container.starts import refuse_unstartable
from piimage.events import Note, Warning

EXAMPLE = "Example: piimage check pi4.yml --set hostname=greenhouse"


def check(files: Files, sets: Sets = [], json: Json = False) -> None:
    """Validate the files and the container folders that they name; report every error at once."""
    with json_lines() if json else nullcontext(PlainLines()) as emit:
        appliance = load_all(files, sets, os.environ)
        refuse_unstartable(files, sets, os.environ, appliance)
        _refuse_ungranted(files, sets, appliance)
        for remark in refuse_lacking(files, sets, os.environ):
            emit(Warning(remark))
        verdict = _verdict(files, appliance)
        if json:
            emit(Note(verdict))
        else:
            say(verdict)


def _verdict(files: Sequence[Path], appliance: Appliance) -> str:
    names = " + ".join(str(file) for file in files)
    services = len(appliance.services)
    return f"{names}: valid (board {appliance.board}, {services} service{'s'[: services != 1]})"


def _refuse_ungranted(files: Sequence[Path], sets: Sequence[str], appliance: Appliance) -> None:
    """Refuse rights that images request and the file does not grant.

    Only images that the lock names and the store holds are examined.
    """
    file = files[-1].with_suffix(".lock")
    if not file.exists():
        return  # the imports below take as long as everything else
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
