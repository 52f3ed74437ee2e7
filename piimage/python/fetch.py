"""Fetches wheels into the store and compares each with its pin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from piimage import events
from piimage.debian.mirror import without_credentials
from piimage.debian.transport import Absent, Transport
from piimage.errors import PiimageError, raise_all
from piimage.lock.model import LockedWheel
from piimage.python.resolve import Found, Resolver
from piimage.python.target import Target
from piimage.store import Store


@dataclass(frozen=True)
class WheelFetcher:
    """Fetches wheels into the store; without a `resolver` (--offline) it fetches nothing."""

    store: Store
    resolver: Resolver | None
    transport: Transport = field(default_factory=Transport)
    emit: events.Listener = events.ignore

    def fetch(self, wheels: Iterable[LockedWheel], target: Target) -> None:
        """Fetch the `wheels` that the store does not have.

        Raises, for all of them together, PiimageError ``python.wheel-absent`` (offline),
        ``python.wheel-gone``, ``python.wheel-altered``, and the errors of the transport.
        """
        missing = {wheel.sha256: wheel for wheel in wheels if not self.store.has(wheel.blob)}
        if not missing:
            return
        if self.resolver is None:
            raise_all(_absent(wheel) for wheel in missing.values())
            return
        places = self.resolver.locate(tuple(missing.values()), target)
        raise_all(
            error for wheel in missing.values() if (error := self._try(wheel, places)) is not None
        )

    def _try(self, wheel: LockedWheel, places: Mapping[str, str]) -> PiimageError | None:
        url = places.get(wheel.sha256) or places.get(wheel.filename)
        if url is None:
            return _gone(wheel)
        try:
            self._download(wheel, url)
        except Absent:
            return _gone(wheel)
        except PiimageError as error:
            return _unreachable(wheel, error) if error.code == "debian.unreachable" else error
        return None

    def _download(self, wheel: LockedWheel, url: str) -> None:
        title = f"fetch {wheel.filename}"
        with self.store.writing() as (writer, keep):
            done = 0
            for chunk in self.transport.chunks(url):
                done += writer.write(chunk)
                if done > wheel.size:
                    break
                self.emit(events.Progress(wheel.sha256, title, done, wheel.size))
            if writer.blob() != wheel.blob:
                raise _altered(wheel, url)
            keep(wheel.blob)

    def complete(self, found: Found) -> LockedWheel:
        """Return the wheel with size and digest; fetch it if the index states neither."""
        wheel = found.wheel
        if wheel.sha256 and wheel.size:
            return wheel
        blob = self.store.add_stream(self.transport.chunks(found.url))
        if wheel.sha256 not in ("", blob.sha256):
            raise _altered(wheel, found.url)
        return replace(wheel, sha256=blob.sha256, size=blob.size)


def _gone(wheel: LockedWheel) -> PiimageError:
    return PiimageError(
        "python.wheel-gone",
        "the index no longer has this file",
        place=wheel.filename,
        hint=f"update the pin (piimage lock --update {wheel.name}), or name an index that has "
        "it with --index",
    )


def _unreachable(wheel: LockedWheel, error: PiimageError) -> PiimageError:
    return PiimageError(
        "python.index-unreachable",
        f"{error.message} ({error.place})",
        place=wheel.filename,
        hint="check the network and pip's configuration, or use only the store (--offline)",
    )


def _absent(wheel: LockedWheel) -> PiimageError:
    return PiimageError(
        "python.wheel-absent",
        "the store does not have this file",
        place=wheel.filename,
        hint="run the command once without --offline",
    )


def _altered(wheel: LockedWheel, url: str) -> PiimageError:
    return PiimageError(
        "python.wheel-altered",
        f"{without_credentials(url)} has another file than the pinned one",
        place=wheel.filename,
        hint="nothing of it was stored; use another index, or update the pin with "
        f"piimage lock --update {wheel.name}",
    )
