"""An archive's InRelease file: its signature, its dates, and the digests of its indexes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final

from piimage.debian.deb822 import paragraph
from piimage.errors import PiimageError
from piimage.run import Runner
from piimage.store import Blob, Store

KEYRINGS: Final = (
    "usr/share/keyrings/debian-archive-keyring.gpg",
    "usr/share/keyrings/debian-archive-keyring.pgp",
)
MAX_RELEASE: Final = 4 << 20
# A host's clock may be wrong by a time zone, an archive's Date by a few seconds.
_CLOCK_SKEW: Final = timedelta(days=1)
_ENTRY: Final = re.compile(r"([0-9a-f]{64})\s+(\d+)\s+(\S+)")
_STATUS: Final = "[GNUPG:] "
_SPOILT: Final = frozenset({"BADSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG"})


@dataclass(frozen=True)
class Release:
    """What a signed InRelease says of its suite.

    `names` are the suite's and the code name; `files` gives the index files by their path below
    ``dists/SUITE``; `sha256` is the digest of the InRelease file itself.
    """

    names: tuple[str, ...]
    date: datetime
    valid_until: datetime | None
    components: tuple[str, ...]
    architectures: tuple[str, ...]
    files: Mapping[str, Blob]
    by_hash: bool
    sha256: str


def keyring(explicit: Path | None = None, host: Path = Path("/")) -> Path:
    """Return the keyring with the archive's keys: `explicit`, else Debian's on this host.

    Raises PiimageError ``debian.no-keyring``.
    """
    places = [explicit] if explicit else [host / name for name in KEYRINGS]
    for place in places:
        if place.is_file():
            return place
    raise PiimageError(
        "debian.no-keyring",
        "the keys that sign Debian's archive are not on this host",
        place=str(places[0]),
        hint="install them with: apt-get install debian-archive-keyring, or name a keyring file "
        "with --keyring",
    )


def verify(runner: Runner, store: Store, data: bytes, keys: Path, place: str) -> bytes:
    """Return the text in `data`, an InRelease file, that a key in the keyring `keys` signed.

    What stands around that text comes from nobody and is lost here. Raises PiimageError
    ``debian.index-unsigned``, ``debian.index-signature``, ``debian.index-unknown-key``,
    ``debian.index-damaged``.
    """
    if b"-----BEGIN PGP SIGNATURE-----" not in data:
        raise PiimageError(
            "debian.index-unsigned",
            "the archive's index is not signed",
            place=place,
            hint="use a mirror of Debian's archive; what has no signature is never used",
        )
    with store.scratch() as folder:
        signed, plain = folder / "InRelease", folder / "Release"
        signed.write_bytes(data)
        argv = ("gpgv", "--homedir", folder, "--weak-digest", "SHA1", "--status-fd", "1")
        files = ("--keyring", keys.absolute(), "--output", plain, signed)
        done = runner.run((*argv, *files), accept=(0, 1, 2))
        _judge(done.text, done.stderr.decode(errors="replace"), place)
        try:
            return plain.read_bytes()
        except OSError as error:
            raise _damaged(place, str(error)) from error


def _judge(status: str, said: str, place: str) -> None:
    """Accept one good signature if none is bad.

    Others may be by keys that this host does not know yet, or that have expired since.
    """
    lines = [
        line.removeprefix(_STATUS).split()
        for line in status.splitlines()
        if line.startswith(_STATUS)
    ]
    words = {line[0] for line in lines if line}
    if "BADSIG" not in words and {"GOODSIG", "VALIDSIG"} <= words:
        return
    unknown = sorted({line[1] for line in lines if len(line) > 1 and line[0] == "NO_PUBKEY"})
    if unknown and not words & _SPOILT:
        raise PiimageError(
            "debian.index-unknown-key",
            f"the archive's index is signed with keys that this host does not know: "
            f"{', '.join(unknown)}",
            place=place,
            hint="bring the keyring up to date (apt-get install debian-archive-keyring), or name "
            "one that has them with --keyring",
        )
    raise PiimageError(
        "debian.index-signature",
        f"the signature of the archive's index is not good: {_last(said)}",
        place=place,
        hint="nothing of it was kept; try again, and if it stays so, use another mirror",
    )


def _last(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()]
    return lines[-1].removeprefix("gpgv: ") if lines else "gpgv gave no reason"


def parse(signed: bytes, place: str) -> Release:
    """Return what `signed`, a text that `verify` gave out, says (``debian.index-damaged``)."""
    try:
        fields = paragraph(signed.decode())
        return Release(
            names=tuple(fields[name] for name in ("codename", "suite") if name in fields),
            date=_date(fields["date"]),
            valid_until=_date(fields["valid-until"]) if "valid-until" in fields else None,
            components=tuple(fields.get("components", "").split()),
            architectures=tuple(fields.get("architectures", "").split()),
            files=MappingProxyType(_files(fields["sha256"])),
            by_hash=fields.get("acquire-by-hash", "no").lower() == "yes",
            sha256=hashlib.sha256(signed).hexdigest(),
        )
    except KeyError as error:
        raise _damaged(place, f"it has no field {error.args[0]}") from error
    except (ValueError, OverflowError) as error:
        raise _damaged(place, str(error)) from error


def _date(text: str) -> datetime:
    date = parsedate_to_datetime(text)
    return date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC)


def _files(text: str) -> dict[str, Blob]:
    return {name: Blob(sha256, int(size)) for sha256, size, name in _ENTRY.findall(text)}


def check_suite(release: Release, suite: str, place: str) -> None:
    """Refuse an index of another suite than `suite` (``debian.index-suite``)."""
    if suite not in release.names:
        raise PiimageError(
            "debian.index-suite",
            f"this is the index of {' or '.join(release.names) or 'no suite'}, not of {suite}",
            place=place,
            hint="use another mirror: this one mixes suites up",
        )


def check_dates(release: Release, now: datetime, not_before: datetime | None, place: str) -> None:
    """Refuse an index that is too old to be trusted, or not yet possible.

    Raises PiimageError ``debian.index-expired`` past its Valid-Until, ``debian.index-future``,
    and ``debian.index-rollback`` when it is older than one seen before (`not_before`).
    """
    if release.valid_until is not None and release.valid_until < now:
        raise PiimageError(
            "debian.index-expired",
            f"the archive's index was valid until {release.valid_until:%Y-%m-%d %H:%M} UTC",
            place=place,
            hint="use another mirror: this one is no longer kept up to date (or set this host's "
            "clock right)",
        )
    if release.date > now + _CLOCK_SKEW:
        raise PiimageError(
            "debian.index-future",
            f"the archive's index is of {release.date:%Y-%m-%d %H:%M} UTC, which is yet to come",
            place=place,
            hint="set this host's clock right",
        )
    if not_before is not None and release.date < not_before:
        raise PiimageError(
            "debian.index-rollback",
            f"the archive's index is of {release.date:%Y-%m-%d %H:%M} UTC, older than that of "
            f"{not_before:%Y-%m-%d %H:%M} UTC which was seen before",
            place=place,
            hint="the mirror is behind or was tampered with: use another; if an older state is "
            "meant, use another store (PIIMAGE_STORE) and no lock file",
        )


def _damaged(place: str, why: str) -> PiimageError:
    return PiimageError(
        "debian.index-damaged",
        f"the archive's index cannot be read: {why}",
        place=place,
        hint="nothing of it was kept; use another mirror",
    )
