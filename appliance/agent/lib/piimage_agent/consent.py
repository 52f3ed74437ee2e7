"""Whether an update may begin: hawkBit's confirmation flow, and the answer of a person at the Pi.

Source: the documentation of Eclipse hawkBit, "DDI API", confirmationBase. An action that waits
there is confirmed or denied; a denied one goes on waiting until it is confirmed or cancelled. A
server can also confirm by itself (auto-confirm), which the device turns on and off.
"""

from __future__ import annotations

import os
import sys

from piimage_agent.root import Root, make_folders, read_line, remove, write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from piimage_agent.ddi import Server

CHECK, NEVER, PERSON = "check", "never", "person"
"""Who confirms: the Pi after a look at the bundle; the server by itself; a person at the Pi."""
YES, NO = "yes", "no"
_INITIATOR = "piimage"


def wants_auto_confirm(confirm: str, told: str) -> bool | None:
    """Return what the server's auto-confirm has to be; None if the Pi does not care.

    `told` is the setting that the server was told before.
    """
    if confirm == told:
        return None
    if confirm == CHECK:
        return False if told == NEVER else None
    return confirm == NEVER


def set_auto_confirm(server: Server, *, wanted: bool) -> None:
    """Turn the server's auto-confirm for this Pi on or off, unless it is so; raises Trouble."""
    path = f"{server.base}/confirmationBase"
    state = server.ask("GET", path).get("autoConfirm")
    active = isinstance(state, dict) and state.get("active") is True
    if active == wanted:
        return
    if wanted:
        body = {"initiator": _INITIATOR, "remark": "updates: confirm: never"}
        server.ask("POST", f"{path}/activateAutoConfirm", body)
    else:
        server.ask("POST", f"{path}/deactivateAutoConfirm")


def send_answer(server: Server, number: str, answer: str, reason: str) -> None:
    """Confirm or deny an action; raises Trouble."""
    word = "confirmed" if answer == YES else "denied"
    path = f"{server.base}/confirmationBase/{number}/feedback"
    server.ask("POST", path, {"confirmation": word, "details": [reason]})


# --- a person at the Pi


def _waiting(root: Root) -> str:
    return f"{root.run}/updates/waiting"


def _answer(root: Root) -> str:
    return f"{root.store}/updates/answer"


def is_waiting(root: Root, number: str) -> bool:
    """Return whether it is known that an action waits for a person."""
    return read_line(_waiting(root)).partition(" ")[0] == number


def note_waiting(root: Root, number: str, version: str) -> None:
    """Note that an action waits for a person."""
    with open(_waiting(root), "w") as file:
        file.write(f"{number} {version}\n")


def answer_of(root: Root, number: str) -> tuple[str, str]:
    """Return ``yes`` or ``no`` with the reason; nothing if nobody has answered this action."""
    found, _, rest = read_line(_answer(root)).partition(" ")
    word, _, reason = rest.partition(" ")
    return (word, reason) if found == number and word in (YES, NO) else ("", "")


def forget(root: Root) -> None:
    """Forget who waits."""
    remove(_waiting(root))


def show(root: Root) -> int:
    """Print the version that waits for a person; return the exit status."""
    number, _, version = read_line(_waiting(root)).partition(" ")
    if not number:
        sys.stdout.write("no update waits for an answer\n")
        return 0
    word, reason = answer_of(root, number)
    answers = {YES: "confirmed", NO: f"denied: {reason}"}
    sys.stdout.write(f"version {version}: {answers.get(word, 'waits for an answer')}\n")
    return 0


def give(root: Root, answer: str, reason: str) -> int:
    """Note a person's answer, which the next call sends; return the exit status."""
    number, _, version = read_line(_waiting(root)).partition(" ")
    if not number:
        sys.stderr.write("piimage-agent: no update waits for an answer\n")
        return 1
    make_folders(os.path.dirname(_answer(root)))
    plain = " ".join(reason.split())[:200]
    write_file(_answer(root), f"{number} {answer} {plain}\n".encode())
    verb = "confirmed" if answer == YES else "denied"
    sys.stdout.write(f"version {version} is {verb}; the server learns it at the next call\n")
    return 0
