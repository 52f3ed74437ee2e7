"""The journal of system updates: one file under /data that says how far the last one came.

States: ``receiving`` (the other slot is being written), ``written`` (it was read back), ``armed``
(the next start is a try), ``trying`` (the new system came up), ``kept`` and ``undone``. The trail
beside it has one line for each phase that a try reached. docs/updates.md has the picture. Both
files have their room from the beginning of an update on: a /data that becomes full later does not
keep a Pi from noting how the update ended.
"""

from __future__ import annotations

import os

from piimage_agent.refusal import Refused
from piimage_agent.root import Root, assignments, exchange_file, make_folders, read_text

RECEIVING, WRITTEN, ARMED, TRYING, KEPT, UNDONE = (
    "receiving", "written", "armed", "trying", "kept", "undone",
)  # fmt: skip
_SIZE = 8192
"""The length of the journal in bytes; no values are longer, see `_plain`."""
_TRAIL_LIMIT = 4096  # bytes, a block of the file system
_KEYS = (
    "STATE", "ID", "NOTE", "FROM", "TO", "FROM_BASE", "TO_BASE", "FROM_VERSION", "TO_VERSION",
    "SERVICES", "DEADLINE", "TRIES", "CAUSE",
)  # fmt: skip


class Journal:
    """The last system update.

    `state`; `id` (SHA-256 of the recipe); `note` (what the tool calls the version); the partitions
    `source` and `target`, and the version in each (`piimage_agent.versions`); the containers layers
    that the two slots ship (`bases`); the `services` that were up when the try was armed; the
    `deadline` of a try in seconds after its boot; the number of `tries`; the `cause` of the end.
    """

    def __init__(self, values: dict[str, str]) -> None:
        self._values = {key: values.get(key, "") for key in _KEYS}
        get = self._values.__getitem__
        self.state, self.id, self.note = get("STATE"), get("ID"), get("NOTE")
        self.source, self.target = get("FROM"), get("TO")
        self.source_version, self.target_version = get("FROM_VERSION"), get("TO_VERSION")
        self.bases = [base for base in (get("FROM_BASE"), get("TO_BASE")) if base]
        self.services = get("SERVICES").split()
        self.deadline = _number(get("DEADLINE"), 600)
        self.tries = _number(get("TRIES"), 0)
        self.cause = get("CAUSE")

    @property
    def is_trial(self) -> bool:
        """Whether a try was armed and has not ended."""
        return self.state in (ARMED, TRYING)

    def changed(self, **values: object) -> Journal:
        """Return the journal with other values of these lower-case keys."""
        new = {key.upper(): _plain(str(value)) for key, value in values.items()}
        return Journal({**self._values, **new})

    def write(self, root: Root) -> None:
        """Make it durable."""
        make_folders(folder(root))
        lines = (f"{key}='{value}'\n" for key, value in self._values.items())
        exchange_file(f"{folder(root)}/state", "".join(lines).encode().ljust(_SIZE, b"\n"))

    def as_reply(self) -> dict[str, object]:
        """Return it for the tool."""
        return {
            "state": self.state, "id": self.id, "note": self.note, "from": self.source,
            "to": self.target, "tries": self.tries, "cause": self.cause,
        }  # fmt: skip


def _number(text: str, default: int) -> int:
    return int(text) if text.isdigit() else default


def _plain(text: str) -> str:
    """Return `text` on one line and without the quote that ends a value."""
    return " ".join(text.replace("'", '"').split())[:500]


def folder(root: Root) -> str:
    """Return the folder of the journal, the trail, and the files that a tool sent."""
    return f"{root.store}/system"


def load(root: Root) -> Journal:
    """Return the journal; an empty one if there was no update."""
    return Journal(assignments(read_text(f"{folder(root)}/state")))


def require_no_trial(root: Root) -> None:
    """Raise Refused ``trial`` while a version of the system is on trial."""
    if load(root).is_trial:
        raise Refused(
            "trial", "a version of the system is on trial on this Pi",
            "wait until it is kept or undone: piimage status shows it",
        )  # fmt: skip


def reserve(root: Root) -> None:
    """Take the room of the journal and the trail; raises OSError if /data is full."""
    now = load(root)
    for _ in range(2):
        now.write(root)
    begin_trail(root)


def begin_trail(root: Root) -> None:
    """Replace the phases of an earlier try by ``armed``, in the same block of the card."""
    fd = os.open(f"{folder(root)}/trail", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        first = f"{ARMED}\n".encode()
        os.pwrite(fd, first, 0)
        os.ftruncate(fd, len(first))
        os.fsync(fd)
    finally:
        os.close(fd)


def add_to_trail(root: Root, phase: str) -> None:
    """Note durably that a try has reached a phase."""
    fd = os.open(
        f"{folder(root)}/trail", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644
    )
    try:
        os.write(fd, f"{phase}\n".encode())
        os.fsync(fd)
    finally:
        os.close(fd)


def trail(root: Root) -> list[str]:
    """Return the phases that the last try reached; ``failed: WHY`` if its initramfs knew why."""
    return read_text(f"{folder(root)}/trail", _TRAIL_LIMIT).splitlines()
