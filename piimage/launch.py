"""The commands for Python and git, two programs that run code of the folder they work in.

``python -m`` searches the working folder for modules first, and git runs programs that the settings
of a checkout name. Neither folder is trusted, so every call of the two gets its command from here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piimage.run import Completed, Runner

_FOREIGN: Final = frozenset({"local", "worktree"})
"""The scopes of git's settings that come with a checkout; the others are the user's own."""

_FILTER: Final = re.compile(r"filter\..*\.(clean|smudge|process|required)\Z", re.DOTALL)
_FIXED: Final = {
    "core.fsmonitor": "false",
    "core.hookspath": "/dev/null",
    "core.quotepath": "false",
    "safe.barerepository": "explicit",
}
_ENVIRONMENT: Final = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    # A checkout with missing objects may name a program that fetches them.
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
}


def python_module(name: str, *words: str) -> list[str]:
    """Return the command for the installed module `name`, independent of the working folder."""
    return [sys.executable, "-P", "-m", name, *words]


def python_file(path: Path, *words: str) -> list[str]:
    """Return the command for a file that needs only Python's standard library.

    Environment variables, the user's folders and installed packages have no effect on it, so that
    root may run it.
    """
    return [sys.executable, "-I", "-S", str(path), *words]


@dataclass(frozen=True)
class Git:
    """Runs git safely to read the untrusted checkout that contains `folder`.

    Sources: git-config(1), gitattributes(5) (filters), git(1) (environment variables).
    """

    runner: Runner
    folder: Path

    def run(self, words: Sequence[str], accept: Sequence[int] = (0,)) -> Completed:
        """Run git without starting any program that the checkout's settings name.

        Raises the errors of `Runner.run`.
        """
        listing = self._git(_FIXED, ["config", "--list", "--show-scope", "-z"], accept=range(256))
        if listing.status != 0 and listing.status not in accept:
            return listing
        return self._git(_safe_settings(listing.stdout), words, accept)

    def _git(
        self, settings: Mapping[str, str], words: Sequence[str], accept: Sequence[int]
    ) -> Completed:
        runner = self.runner.with_environment(**_ENVIRONMENT, **dict(_as_variables(settings)))
        return runner.run(["git", "-C", self.folder, *words], accept=accept)


def _as_variables(settings: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Give the variables that set `settings`; ``-c`` could not set a name that contains ``=``."""
    yield "GIT_CONFIG_COUNT", str(len(settings))
    for number, (key, value) in enumerate(sorted(settings.items())):
        yield f"GIT_CONFIG_KEY_{number}", key
        yield f"GIT_CONFIG_VALUE_{number}", value


def _safe_settings(listing: bytes) -> dict[str, str]:
    """Return settings that replace the filters of a checkout by the user's of that name, or none.

    `listing` is the output of ``git config --list --show-scope -z``.
    """
    words = listing.decode("utf-8", "surrogateescape").split("\0")
    own: dict[str, str] = {}
    foreign: set[str] = set()
    for scope, setting in zip(words[::2], words[1::2], strict=False):
        key, _, value = setting.partition("\n")
        if not _FILTER.match(key):
            continue
        if scope in _FOREIGN:
            foreign.add(key)
        elif scope != "command":
            own[key] = value
    # An empty value means no program, and not required.
    return {
        **dict.fromkeys(foreign, ""),
        **{key: own[key] for key in foreign & own.keys()},
        **_FIXED,
    }
