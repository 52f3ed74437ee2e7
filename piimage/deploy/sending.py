"""Sends files to an agent, packed if that is worth it; a lost transfer goes on where it ended."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import IO, Final

from piimage.deploy import answers
from piimage.deploy.link import Link
from piimage.deploy.pipe import MAX_BODY
from piimage.errors import PiimageError

_TRIES: Final = 2  # of a file: the bytes of an earlier connection may be damaged
_PACKED_BELOW: Final = 1 << 20  # bytes; larger files are compressed already


def send(link: Link, operation: str, digest: str, content: Path | bytes) -> None:
    """Send a file by ``put`` or ``system-put``, from where an earlier connection ended.

    Raises PiimageError ``deploy.refused``.
    """
    for left in reversed(range(_TRIES)):
        try:
            _send_once(link, operation, digest, content)
        except PiimageError as error:
            if error.code != "deploy.refused" or not left:
                raise
        else:
            return


def _send_once(link: Link, operation: str, digest: str, content: Path | bytes) -> None:
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    packed = size < _PACKED_BELOW and "put-zlib" in link.features
    answer = link.ask(operation, layer=digest, size=size, packing="zlib" if packed else "none")
    if answer.get("stored") is True:
        return
    offset = link.checked(lambda: answers.number(answer, "offset", 0, size))
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
        file.seek(offset)
        _send_rest(link, io.BytesIO(zlib.compress(file.read(), 9)) if packed else file)
    link.answer(timeout=600)


def _send_rest(link: Link, file: IO[bytes]) -> None:
    data = file.read(MAX_BODY)
    while True:
        next_data = file.read(MAX_BODY)
        link.say("data", data, last=not next_data)
        if not next_data:
            return
        data = next_data
