"""The agent's command line: ``serve`` over SSH, ``exec`` for a person, the others at boot."""

from __future__ import annotations

import os
import sys

from piimage_agent import FEATURES, PROTOCOLS, VERSION
from piimage_agent.refusal import Refused
from piimage_agent.root import Root
from piimage_agent.services import require

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

USAGE = """usage: piimage-agent serve [--root FOLDER]    answer piimage on standard input and output
       piimage-agent exec SERVICE PROGRAM...  run a program in a service's container
       piimage-agent seed FOLDER              apply the settings in cloud-init's files
       piimage-agent cloud                    apply the settings of a cloud's metadata service
       piimage-agent trial                    keep or undo the version on trial
       piimage-agent poll                     call the update server once
       piimage-agent waiting                  show the update that waits for a person
       piimage-agent confirm                  let it begin
       piimage-agent deny REASON...           refuse it
       piimage-agent version
"""
_RUNC = ("usr/sbin/runc", "run/containerd/runc/services.linuxkit")


def main(words: Sequence[str]) -> int:
    """Run the command in `argv`; return the exit status."""
    match list(words):
        case ["serve", *rest]:
            return _serve(rest)
        case ["exec", name, program, *arguments]:
            return _exec(Root(), name, [program, *arguments])
        case ["seed", _] | ["cloud"]:
            return _seed(*words[1:])
        case ["trial" | "poll" | "waiting" | "confirm" | "deny" as verb, *rest]:
            return (_alone if verb in ("trial", "poll") else _consent)(verb, rest)
        case ["version"]:
            low, high = PROTOCOLS
            sys.stdout.write(f"{VERSION}, protocol {low} to {high}: {' '.join(FEATURES)}\n")
            return 0
    sys.stderr.write(USAGE)
    return 2


def _seed(folder: str | None = None) -> int:
    """Apply the settings in a folder; without one, those of a cloud."""
    if folder is None:
        from piimage_seed.cloud import main as cloud  # noqa: PLC0415  # both bring all of PyYAML

        return cloud()
    from piimage_seed.main import main as seed  # noqa: PLC0415

    return seed(folder)


def _serve(rest: list[str]) -> int:
    from piimage_agent.session import Session  # noqa: PLC0415  # `exec` does not need it

    root = _root_of(rest)
    if root is None:
        return 2
    os.umask(0o022)
    return Session(root, 0, 1).serve()


def _alone(verb: str, rest: list[str]) -> int:
    """Run what nobody waits for."""
    root = _root_of(rest)
    if root is None:
        return 2
    os.umask(0o022)
    if verb == "poll":
        from piimage_agent.poll import run as poll  # noqa: PLC0415  # it brings what talks HTTP

        return poll(root)
    from piimage_agent.trial import run as decide  # noqa: PLC0415  # once in a version's life

    decide(root)
    return 0


def _consent(verb: str, rest: list[str]) -> int:
    """Let a person at the Pi see, allow or refuse an update."""
    from piimage_agent import consent  # noqa: PLC0415  # rare

    count = 2 if rest[:1] == ["--root"] else 0
    root, reason = _root_of(rest[:count]), " ".join(rest[count:])
    if root is None:
        return 2
    if bool(reason) is not (verb == "deny"):
        sys.stderr.write(USAGE)
        return 2
    os.umask(0o022)
    if verb == "waiting":
        return consent.show(root)
    return consent.give(root, consent.NO if reason else consent.YES, reason or "by a person")


def _root_of(rest: list[str]) -> Root | None:
    """Return the root that the words name; None, after an explanation, if they are others."""
    match rest:
        case []:
            return Root()
        case ["--root", folder]:
            return Root(folder)
    sys.stderr.write(USAGE)
    return None


def _exec(root: Root, name: str, argv: list[str]) -> int:
    """Become runc, which runs the program as the container's own processes run."""
    try:
        require(root, name)
    except Refused as refused:
        sys.stderr.write(f"piimage-agent: {refused.message} ({refused.hint})\n")
        return 1
    program, state = (root.at(path) for path in _RUNC)
    terminal = ["-t"] if sys.stdin.isatty() else []
    os.execv(program, ["runc", "--root", state, "exec", *terminal, name, *argv])  # noqa: S606
    return 1
