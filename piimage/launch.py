"""How Python and git are started: two programs that run what lies where they stand.

``python -m`` looks for modules in the working folder first, and git runs programs that a checkout's
own settings name. Both folders may have come from anywhere, so whoever starts one of the two gets
the command from here.
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
"""The scopes of git's settings that a checkout brings; the others are the user's own."""

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
    # A checkout may lack objects and name a program that fetches them.
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
}


def python_module(name: str, *words: str) -> list[str]:
    """Return the command for the installed module `name`, whatever the working folder holds."""
    return [sys.executable, "-P", "-m", name, *words]


def python_file(path: Path, *words: str) -> list[str]:
    """Return the command for a file that needs Python's own library alone.

    No variable, no user's folder and no installed package has a say in it: fit for root.
    """
    return [sys.executable, "-I", "-S", str(path), *words]


@dataclass(frozen=True)
class Git:
    """git for reading the checkout that `folder` lies in, whoever made it.

    Sources: git-config(1), gitattributes(5) (filters), git(1) (environment variables).
    """

    runner: Runner
    folder: Path

    def run(self, words: Sequence[str], accept: Sequence[int] = (0,)) -> Completed:
        """Run git; no program that the checkout's own settings name is started.

        Raises as `Runner.run` does.
        """
        known = self._git(_FIXED, ["config", "--list", "--show-scope", "-z"], accept=range(256))
        if known.status != 0 and known.status not in accept:
            return known
        return self._git(_harmless(known.stdout), words, accept)

    def _git(
        self, settings: Mapping[str, str], words: Sequence[str], accept: Sequence[int]
    ) -> Completed:
        runner = self.runner.with_environment(**_ENVIRONMENT, **dict(_as_variables(settings)))
        return runner.run(["git", "-C", self.folder, *words], accept=accept)


def _as_variables(settings: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Give the variables that set `settings`: a name may hold what ``-c`` takes for its end."""
    yield "GIT_CONFIG_COUNT", str(len(settings))
    for number, (key, value) in enumerate(sorted(settings.items())):
        yield f"GIT_CONFIG_KEY_{number}", key
        yield f"GIT_CONFIG_VALUE_{number}", value


def _harmless(listed: bytes) -> dict[str, str]:
    """Return what to set so that a checkout's filters are the user's own of that name, or none.

    `listed` is what ``git config --list --show-scope -z`` says.
    """
    words = listed.decode("utf-8", "surrogateescape").split("\0")
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
    # Empty is no program, and not required.
    return {
        **dict.fromkeys(foreign, ""),
        **{key: own[key] for key in foreign & own.keys()},
        **_FIXED,
    }
