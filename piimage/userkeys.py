"""The public SSH keys of the user of this computer: the files in ~/.ssh, and the agent's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piimage import events
from piimage.errors import MissingTool, PiimageError
from piimage.run import Runner
from piimage.sshkeys import DROPBEAR_OPTIONS, Key, is_key, keys_of, parse_keys

AGENT: Final = "ssh-agent"
_LIST: Final = ("ssh-add", "-L")
_NO_KEYS: Final = (1, 2)  # ssh-add(1), "EXIT STATUS": the agent has none, or there is no agent


@dataclass(frozen=True)
class UserKey:
    """A public key, and where it was found: a file as the user would name it, or ``ssh-agent``."""

    line: str
    source: str

    @property
    def blob(self) -> str:
        """The key without options and comment: two keys are the same if this is the same."""
        return next(text for text in self.line.split() if text.startswith("AAAA"))

    @property
    def shown(self) -> str:
        """The source, the type and the comment of the key, for a person."""
        kind, _, comment = self.line.partition(self.blob)
        return " ".join([f"{self.source}:", kind.split()[-1], comment.strip()]).strip()


def named_keys(texts: Sequence[str]) -> tuple[UserKey, ...]:
    """Return the keys that the user names: files, or lines of authorized_keys; each once.

    Raises the errors of `keys_of`.
    """
    return _each_once(
        UserKey(key.line, "--ssh-key" if is_key(text) else text)
        for text in texts
        for key in keys_of(text)
    )


def found_keys(home: Path, runner: Runner) -> tuple[UserKey, ...]:
    """Return the user's public keys, each once: of ``~/.ssh/*.pub``, then of the agent.

    A file or a key that the Pi's sshd would not accept is skipped with a warning.
    """
    return _each_once([*_of_files(home, runner.emit), *_of_agent(runner)])


def _of_files(home: Path, emit: events.Listener) -> Iterator[UserKey]:
    for path in sorted((home / ".ssh").glob("*.pub")):
        source = f"~/.ssh/{path.name}"
        try:
            keys = keys_of(str(path))
        except PiimageError as error:
            emit(events.Warning(f"{source} is skipped: {error.message}"))
            continue
        yield from _accepted(keys, source, emit)


def _of_agent(runner: Runner) -> Iterator[UserKey]:
    try:
        listing = runner.run(_LIST, accept=(0, *_NO_KEYS))
    except MissingTool:
        return
    if listing.status != 0:
        return
    for line in filter(str.strip, listing.text.splitlines()):
        try:
            keys = parse_keys(line)
        except PiimageError as error:
            runner.emit(events.Warning(f"a key of {AGENT} is skipped: {error.message}"))
            continue
        yield from _accepted(keys, AGENT, runner.emit)


def _accepted(keys: Sequence[Key], source: str, emit: events.Listener) -> Iterator[UserKey]:
    """Give the keys that dropbear, the Pi's sshd, accepts: it ignores a key with other options."""
    for key in keys:
        if unknown := sorted(set(key.options) - DROPBEAR_OPTIONS):
            text = f"a key in {source} is skipped: the Pi's sshd has no option {unknown[0]}"
            emit(events.Warning(text))
        else:
            yield UserKey(key.line, source)


def _each_once(keys: Iterable[UserKey]) -> tuple[UserKey, ...]:
    found: dict[str, UserKey] = {}
    for key in keys:
        found.setdefault(key.blob, key)
    return tuple(found.values())
