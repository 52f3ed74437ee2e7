"""Chooses the engine of the guest: the one that is named, else the first that starts here."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from chipmodels.testing import qemu, uml
from chipmodels.testing.channel import ChannelClosed
from chipmodels.testing.engine import Engine, GuestUnavailable
from chipmodels.testing.machine import Machine

_TRY_SECONDS = 30.0
_TRY_MIB = 128
_CACHE_VERSION = b"1"

Finder = Callable[[], Engine]
FINDERS: Mapping[str, Finder] = {"uml": uml.find, "qemu": qemu.find}


def named(name: str) -> Engine:
    """Return the engine of that name, whether or not it starts. Raises `GuestUnavailable`."""
    return FINDERS[name]()


def automatic() -> Engine:
    """Return user-mode Linux if it starts, else QEMU. Raises `GuestUnavailable` with reasons."""
    try:
        engine = uml.find()
        failure = remembered(engine, cache_folder())
    except GuestUnavailable as error:
        failure = str(error)
    if failure is None:
        return engine
    try:
        return qemu.find()
    except GuestUnavailable as error:
        raise GuestUnavailable(
            f"no engine for the guest works on this machine:\n{failure}\n{error}"
        ) from None


def starting() -> list[str]:
    """Return the names of the engines that start here; the first one is the default."""
    names = []
    with suppress(GuestUnavailable):
        if remembered(uml.find(), cache_folder()) is None:
            names.append("uml")
    with suppress(GuestUnavailable):
        names.append(qemu.find().name)
    return names


def remembered(engine: uml.UserModeLinux, folder: Path) -> str | None:
    """Return why `engine` does not start here; None if it does. The result is cached."""
    file = folder / _key(engine)
    with suppress(OSError):
        return file.read_text() or None
    try:
        failure = tried(engine)
    except TimeoutError:
        return f"{engine.title} did not start within {_TRY_SECONDS:g} s"  # busy?
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as written:
            written.write(failure or "")
        Path(written.name).replace(file)
    return failure


def tried(engine: Engine) -> str | None:
    """Start the engine with a test program; return the error, or None if it starts.

    Raises TimeoutError.
    """
    with tempfile.TemporaryDirectory(prefix="chipmodels-try-") as name:
        init = Path(name, "init")
        program = f"print(1, file=open({engine.line!r}, 'w'), flush=True)"
        init.write_text(f'#!/bin/sh\n"{sys.executable}" -ISc "{program}"\nexec sleep 60\n')
        init.chmod(0o755)
        machine = Machine(engine, Path(name), init, _TRY_MIB)
        try:
            machine.channel.receive(_TRY_SECONDS)
        except ChannelClosed:
            return machine.obituary(f"{engine.title} does not start on this processor")
        finally:
            machine.close()
        return None


def cache_folder() -> Path:
    """Return the folder that caches whether an engine starts."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return Path(base if Path(base).is_absolute() else Path.home() / ".cache", "chipmodels")


def _key(engine: uml.UserModeLinux) -> str:
    """Return a name for this program on this processor and kernel."""
    program = engine.program.stat()
    size_and_time = f"{program.st_size} {program.st_mtime_ns}".encode()
    parts = (_CACHE_VERSION, size_and_time, " ".join(os.uname()[::2]).encode(), _processor())
    return f"uml-{hashlib.sha256(b'|'.join(parts)).hexdigest()[:16]}"


def _processor() -> bytes:
    """Return model and features of the first processor."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_bytes().partition(b"\n\n")[0].splitlines()
        kept = (b"vendor_id", b"cpu family", b"model", b"stepping", b"flags", b"Features")
        return b"\n".join(line for line in lines if line.startswith(kept))
    return b""
