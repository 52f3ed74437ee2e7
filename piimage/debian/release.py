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
from piimage.distribution import install_hint
from piimage.errors import PiimageError
from piimage.run import Runner
from piimage.store import Blob, Store

KEYRINGS: Final = (
    "usr/share/keyrings/debian-archive-keyring.gpg",
    "usr/share/keyrings/debian-archive-keyring.pgp",
)
KEYRING_PACKAGE: Final = "debian-archive-keyring"
MAX_RELEASE: Final = 4 << 20
# The clock of a host may be wrong by a time zone, the Date of an archive by a few seconds.
_CLOCK_SKEW: Final = timedelta(days=1)
_ENTRY: Final = re.compile(r"([0-9a-f]{64})\s+(\d+)\s+(\S+)")
_STATUS: Final = "[GNUPG:] "
_BAD: Final = frozenset({"BADSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG"})


@dataclass(frozen=True)
class Release:
    """The fields of a signed InRelease file.

    `names` are the code name and the suite's name; `files` has the index files by their path below
    ``dists/SUITE``; `sha256` is the digest of the signed text.
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
    """Return the keyring with the archive's keys: `explicit`, or else Debian's on this host.

    Raises PiimageError ``debian.no-keyring``.
    """
    paths = [explicit] if explicit else [host / name for name in KEYRINGS]
    for path in paths:
        if path.is_file():
            return path
    raise PiimageError(
        "debian.no-keyring",
        "the keyring of Debian's archive is not on this host",
        place=str(paths[0]),
        hint=f"{install_hint([KEYRING_PACKAGE], host)}, or name a keyring file with --keyring",
    )


def verify(runner: Runner, store: Store, data: bytes, keys: Path, place: str) -> bytes:
    """Return the text in `data`, an InRelease file, that a key in the keyring `keys` has signed.

    Text outside of the signed text is dropped. Raises PiimageError ``debian.index-unsigned``,
    ``debian.index-signature``, ``debian.index-unknown-key``, ``debian.index-damaged``.
    """
    if b"-----BEGIN PGP SIGNATURE-----" not in data:
        raise PiimageError(
            "debian.index-unsigned",
            "the archive's index is not signed",
            place=place,
            hint="use a mirror of Debian's archive; piimage never uses an unsigned index",
        )
    with store.scratch() as folder:
        signed, plain = folder / "InRelease", folder / "Release"
        signed.write_bytes(data)
        argv = ("gpgv", "--homedir", folder, "--weak-digest", "SHA1", "--status-fd", "1")
        files = ("--keyring", keys.absolute(), "--output", plain, signed)
        done = runner.run((*argv, *files), accept=(0, 1, 2))
        _check_status(done.text, done.stderr.decode(errors="replace"), place)
        try:
            return plain.read_bytes()
        except OSError as error:
            raise _damaged(place, str(error)) from error


def _check_status(status: str, log: str, place: str) -> None:
    """Accept gpgv's `status` if it has a good signature and no bad one.

    Further signatures may be made by keys that this host does not know, or that have expired.
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
    if unknown and not words & _BAD:
        raise PiimageError(
            "debian.index-unknown-key",
            f"the archive's index is signed with unknown keys: {', '.join(unknown)}",
            place=place,
            hint=f"update the keyring ({KEYRING_PACKAGE}), or name a keyring that has these keys "
            "with --keyring",
        )
    raise PiimageError(
        "debian.index-signature",
        f"the signature of the archive's index is invalid: {_last_line(log)}",
        place=place,
        hint="the index was not kept; try again, and if the error remains, use another mirror",
    )


def _last_line(log: str) -> str:
    lines = [line for line in log.splitlines() if line.strip()]
    return lines[-1].removeprefix("gpgv: ") if lines else "gpgv gave no reason"


def parse(signed: bytes, place: str) -> Release:
    """Parse `signed`, a text from `verify`; raises PiimageError ``debian.index-damaged``."""
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
            hint="use another mirror: this mirror confuses suites",
        )


def check_dates(release: Release, now: datetime, not_before: datetime | None, place: str) -> None:
    """Refuse an index that is expired, dated in the future, or older than `not_before`.

    Raises PiimageError ``debian.index-expired`` (by its Valid-Until), ``debian.index-future``,
    ``debian.index-rollback``.
    """
    if release.valid_until is not None and release.valid_until < now:
        raise PiimageError(
            "debian.index-expired",
            f"the archive's index was valid until {release.valid_until:%Y-%m-%d %H:%M} UTC",
            place=place,
            hint="use another mirror: this mirror is out of date; or correct this host's clock",
        )
    if release.date > now + _CLOCK_SKEW:
        raise PiimageError(
            "debian.index-future",
            f"the archive's index is dated {release.date:%Y-%m-%d %H:%M} UTC, in the future",
            place=place,
            hint="correct this host's clock",
        )
    if not_before is not None and release.date < not_before:
        raise PiimageError(
            "debian.index-rollback",
            f"the archive's index is dated {release.date:%Y-%m-%d %H:%M} UTC, older than the known "
            f"index of {not_before:%Y-%m-%d %H:%M} UTC",
            place=place,
            hint="use another mirror: this mirror is out of date or was tampered with; to go back "
            "on purpose, use another store (PIIMAGE_STORE) and no lock file",
        )


def _damaged(place: str, reason: str) -> PiimageError:
    return PiimageError(
        "debian.index-damaged",
        f"the archive's index cannot be read: {reason}",
        place=place,
        hint="the index was not kept; use another mirror",
    )
