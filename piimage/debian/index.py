"""Verified package indexes of suites: fetched, checked by digest, kept in the store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final

from piimage import events
from piimage.debian import catalogue, release
from piimage.debian.catalogue import Catalogue
from piimage.debian.mirror import Mirrors
from piimage.debian.release import Release
from piimage.debian.transport import Absent, Transport
from piimage.errors import InputError, PiimageError
from piimage.run import Runner
from piimage.store import Blob, Store

_COMPRESSIONS: Final = (".xz", ".gz", "")
_FORMAT: Final = "3"  # of the catalogues in the store; raise it if `catalogue.build` changes
_STEP: Final = "debian-indexes"


@dataclass(frozen=True)
class Suite:
    """A suite and its enabled components.

    `automatic` is false for a suite like backports: its packages are used only if they are
    requested (``name/suite``), or if a requested package needs them.
    """

    name: str
    components: tuple[str, ...] = ("main",)
    automatic: bool = True


@dataclass(frozen=True)
class Index:
    """The packages of one suite for one architecture."""

    suite: Suite
    architecture: str
    release: Release
    catalogues: tuple[Catalogue, ...]


@dataclass(frozen=True)
class Archive:
    """The source of indexes, and the keyring that verifies them.

    Without `mirrors` the indexes in the store are used (--offline). `now` returns the time in
    seconds; no output depends on it.
    """

    store: Store
    runner: Runner
    mirrors: Mirrors | None
    keyring: Path
    now: Callable[[], float]
    transport: Transport = field(default_factory=Transport)
    emit: events.Listener = events.ignore

    def indexes(
        self,
        suites: Iterable[Suite],
        architectures: Sequence[str],
        known: Mapping[str, datetime] = MappingProxyType({}),
    ) -> tuple[Index, ...]:
        """Return the verified indexes of `suites` for each of `architectures`.

        `known` has the dates of suites' indexes in the lock file. An index older than that, or
        older than the one in the store, is refused. A refused index is not kept. Raises
        PiimageError ``debian.index-*``, ``debian.no-such-component``,
        ``debian.no-such-architecture``, ``debian.not-stored``, and the errors of the transport.
        """
        indexes: list[Index] = []
        for suite in suites:
            if self.mirrors is None:
                signed = self._stored_release(suite)
                indexes += [self._index(suite, name, signed) for name in architectures]
                continue
            text, signed = self._fetched_release(suite, self.mirrors, known.get(suite.name))
            indexes += [self._index(suite, name, signed) for name in architectures]
            # Only now, so that an offline run never has a release without its indexes.
            self._keep(suite, text)
        return tuple(indexes)

    def _keep(self, suite: Suite, text: bytes) -> None:
        """Keep the signed text, and the keyring that verified it."""
        outputs = {
            "": self.store.add_bytes(text),
            "keyring": self.store.add_bytes(self.keyring.read_bytes()),
        }
        self.store.remember(_memo("Release", suite.name), outputs)

    def _fetched_release(
        self, suite: Suite, mirrors: Mirrors, known: datetime | None
    ) -> tuple[bytes, Release]:
        url = mirrors.of(suite.name).at(f"dists/{suite.name}/InRelease")
        place = f"{mirrors.of(suite.name)} {suite.name}"
        data = self.transport.read(url, release.MAX_RELEASE)
        text = release.verify(self.runner, self.store, data, self.keyring, place)
        signed = release.parse(text, place)
        release.check_suite(signed, suite.name, place)
        dates = [date for date in (known, self._stored_date(suite)) if date is not None]
        now = datetime.fromtimestamp(self.now(), UTC)
        release.check_dates(signed, now, max(dates, default=None), place)
        return text, signed

    def _stored_release(self, suite: Suite) -> Release:
        outputs = self.store.recall(_memo("Release", suite.name))
        keys = hashlib.sha256(self.keyring.read_bytes()).hexdigest()
        if outputs is None or outputs["keyring"].sha256 != keys:
            raise _not_stored(f"an index of {suite.name} that this keyring has verified")
        signed = self._read(outputs, suite)
        if signed.valid_until and signed.valid_until.timestamp() < self.now():
            date = f"{signed.valid_until:%Y-%m-%d}"
            self.emit(
                events.Warning(f"the stored index of {suite.name} was only valid until {date}")
            )
        return signed

    def _stored_date(self, suite: Suite) -> datetime | None:
        """Return the date of the suite's index in the store."""
        outputs = self.store.recall(_memo("Release", suite.name))
        return None if outputs is None else self._read(outputs, suite).date

    def _read(self, outputs: Mapping[str, Blob], suite: Suite) -> Release:
        return release.parse(self.store.verified(outputs[""]).read_bytes(), suite.name)

    def _index(self, suite: Suite, architecture: str, signed: Release) -> Index:
        if architecture not in signed.architectures:
            raise InputError(
                "debian.no-such-architecture",
                f"{suite.name} has no packages for {architecture}",
                hint=f"its architectures are {', '.join(signed.architectures)}",
            )
        parts = (self._catalogue(suite, part, architecture, signed) for part in suite.components)
        return Index(suite, architecture, signed, tuple(parts))

    def _catalogue(
        self, suite: Suite, component: str, architecture: str, signed: Release
    ) -> Catalogue:
        stem = f"{component}/binary-{architecture}/Packages"
        compression = next((end for end in _COMPRESSIONS if stem + end in signed.files), None)
        if compression is None:
            raise InputError(
                "debian.no-such-component",
                f"{suite.name} has no component {component} for {architecture}",
                hint=f"its components are {', '.join(signed.components)}",
            )
        blob = signed.files[stem + compression]
        memo = _memo("catalogue", _FORMAT, blob.sha256)
        outputs = self.store.recall(memo)
        if outputs is None:
            self._fetch(suite, stem + compression, blob, signed)
            outputs = {"": self._build(suite, blob, compression)}
            self.store.remember(memo, outputs)
        return Catalogue(self.store.verified(outputs[""]), suite.name)

    def _fetch(self, suite: Suite, name: str, blob: Blob, signed: Release) -> None:
        if self.store.has(blob):
            return
        if self.mirrors is None:
            raise _not_stored(f"the index {name} of {suite.name}")
        root = self.mirrors.of(suite.name).at(f"dists/{suite.name}")
        plain, folder = f"{root}/{name}", name.rpartition("/")[0]
        if not signed.by_hash:
            self._download(suite, name, blob, plain)
            return
        try:
            self._download(suite, name, blob, f"{root}/{folder}/by-hash/SHA256/{blob.sha256}")
        except Absent:
            # Some partial mirrors have no by-hash folders.
            self._download(suite, name, blob, plain)

    def _download(self, suite: Suite, name: str, blob: Blob, url: str) -> None:
        done = 0
        with self.store.writing() as (writer, keep):
            for chunk in self.transport.chunks(url):
                done += writer.write(chunk)
                if done > blob.size:
                    raise _altered(suite, name, f"it has more than {blob.size} bytes")
                title = f"fetch the index of {suite.name}"
                self.emit(events.Progress(_STEP, title, done, blob.size))
            if writer.blob() != blob:
                raise _altered(suite, name, f"its digest is {writer.blob().digest}")
            keep(blob)

    def _build(self, suite: Suite, blob: Blob, compression: str) -> Blob:
        with self.store.scratch() as folder:
            target = folder / "catalogue"
            try:
                catalogue.build(self.store.verified(blob), compression, target)
            except ValueError as error:
                self.store.path(blob).unlink(missing_ok=True)
                raise catalogue.damaged(suite.name, str(error)) from error
            return self.store.add_file(target)


def _memo(*words: str) -> str:
    return hashlib.sha256("\0".join(("debian", *words)).encode()).hexdigest()


def _altered(suite: Suite, name: str, reason: str) -> PiimageError:
    return PiimageError(
        "debian.index-altered",
        f"{name} is not the file that the signed index lists: {reason}",
        place=suite.name,
        hint="the file was not kept; try again in some minutes, and if the error remains, use "
        "another mirror",
    )


def _not_stored(index: str) -> PiimageError:
    return PiimageError(
        "debian.not-stored",
        f"the store does not have {index}",
        hint="run the command once without --offline",
    )
