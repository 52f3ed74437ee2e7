"""The uncompressed tar of a foreign layer, hashed and bounded while it is read."""

from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, cast

from piimage import host
from piimage.errors import PiimageError
from piimage.run import Runner
from piimage.store import CHUNK

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_UNPACKED: Final = 16 << 30
"""Bytes that one layer may unpack to."""
# Real layers reach a ratio of about 10; what is beyond 200 is made to exhaust the machine.
_MAX_RATIO: Final = 200
_FREE: Final = 64 << 20
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"


class LayerStream(io.RawIOBase):
    """Reads the tar and counts and hashes what goes through.

    Reading raises PiimageError ``oci.layer-damaged`` where the compressed data is, and
    ``oci.layer-bomb`` when there is far more of it than the layer's size explains.
    """

    def __init__(
        self, source: IO[bytes], finish: Callable[[], str], allowed: int, origin: str
    ) -> None:
        super().__init__()
        self._source = source
        self._finish = finish
        self._allowed = allowed
        self._origin = origin
        self._hash = hashlib.sha256()
        self._read = 0

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read as the base class says."""
        view = memoryview(buffer).cast("B")
        try:
            data = self._source.read(len(view))
        except (OSError, EOFError, zlib.error) as error:
            host.raise_host_error(error, self._origin)
            raise layer_damaged(str(error), self._origin) from error
        if not data:
            complaint = self._finish()
            if complaint:
                raise layer_damaged(complaint, self._origin)
        self._read += len(data)
        if self._read > self._allowed:
            raise layer_bomb(self._origin)
        self._hash.update(data)
        view[: len(data)] = data
        return len(data)

    def diff_id(self) -> str:
        """Read to the end and return the digest of all that was read."""
        buffer = bytearray(CHUNK)
        while self.readinto(buffer):
            pass
        return f"sha256:{self._hash.hexdigest()}"


@contextmanager
def layer_stream(runner: Runner, path: Path, origin: str) -> Iterator[LayerStream]:
    """Give the tar of the layer at `path`: gzip, zstd or plain, told by its first bytes.

    The media type does not decide, because registries are known to state it wrongly.
    """
    allowed = min(MAX_UNPACKED, _FREE + _MAX_RATIO * path.stat().st_size)
    # Unbuffered, because another process may read on from where this one is.
    with path.open("rb", buffering=0) as file:
        magic = file.read(4)
        file.seek(0)
        if magic == _ZSTD:
            with runner.start(["zstd", "-dcq"], stdin=file) as process:
                source = cast("IO[bytes]", process.stdout)
                yield LayerStream(source, lambda: _ended(process), allowed, origin)
        elif magic.startswith(_GZIP):
            with gzip.GzipFile(fileobj=io.BufferedReader(file, CHUNK), mode="rb") as unpacked:
                yield LayerStream(cast("IO[bytes]", unpacked), _fine, allowed, origin)
        else:
            yield LayerStream(cast("IO[bytes]", file), _fine, allowed, origin)


def _fine() -> str:
    return ""


def _ended(process: subprocess.Popen[bytes]) -> str:
    """Return what the decompressor complains of; "" when it is content."""
    if process.wait() == 0:
        return ""
    stderr = process.stderr
    message = stderr.read().decode(errors="replace").strip() if stderr else ""
    return message.splitlines()[-1] if message else "zstd failed"


def layer_damaged(fault: str, origin: str) -> PiimageError:
    """Return the error for a layer that cannot be read."""
    return PiimageError(
        "oci.layer-damaged",
        f"damaged layer: {fault}",
        place=origin,
        hint="pull the image again; if it stays so, the image itself is damaged: push it again",
    )


def layer_bomb(origin: str) -> PiimageError:
    """Return the error for a layer that unpacks to far too much."""
    return PiimageError(
        "oci.layer-bomb",
        "the layer unpacks to far more than its size explains",
        place=origin,
        hint="do not use this image: it is made to exhaust the machine",
    )
