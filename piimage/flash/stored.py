"""The settings that a card has already: /data/piimage/provision/settings, lines of KEY=VALUE."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from piimage.errors import InputError, raise_all

PATH: Final = "piimage/provision/settings"
_KEY: Final = re.compile(rb"([A-Za-z_][A-Za-z0-9_]*)=")


def encode(values: Mapping[str, str]) -> bytes:
    """Return the file's content for `values`: assignments of sh, sorted by key."""
    lines = (f"{key}={shlex.quote(value)}\n" for key, value in sorted(values.items()))
    return "".join(lines).encode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class Change:
    """What to change in the settings of a card; all others stay as they are."""

    values: Mapping[str, str] = field(default_factory=dict)
    """Settings to add or to replace, by key."""
    unset: tuple[str, ...] = ()
    """The keys of the settings to remove."""

    def __bool__(self) -> bool:
        """Return whether there is anything to change."""
        return bool(self.values or self.unset)

    def applied(self, content: bytes) -> bytes:
        """Return the file with the change; lines that are no assignments are kept as they are.

        Raises InputError ``flash.bad-setting`` for each key to remove that the card does not have.
        """
        lines = [line for line in content.split(b"\n") if line]
        raise_all(self._unknown([_key(line) for line in lines]))
        changed = {key.encode() for key in (*self.values, *self.unset)}
        kept = [line + b"\n" for line in lines if _key(line) not in changed]
        return b"".join(kept) + encode(self.values)

    def _unknown(self, keys: list[bytes]) -> Iterator[InputError]:
        names = sorted({key.decode() for key in keys if key})
        for key in self.unset:
            if key not in names:
                yield InputError(
                    "flash.bad-setting",
                    f"the card has no setting {key!r}",
                    place="--unset",
                    hint=f"it has: {', '.join(names)}" if names else "it has no settings",
                )


UNCHANGED: Final = Change()


def _key(line: bytes) -> bytes:
    """Return the key of a line; empty if the line is no assignment."""
    match = _KEY.match(line)
    return match[1] if match else b""
