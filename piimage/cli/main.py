"""The command line: one module a verb, imported only when that verb is used."""

from __future__ import annotations

import gc
import importlib
import keyword
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, Final

import typer

from piimage.cli.output import say, show_error, tell
from piimage.errors import PiimageError
from piimage.host import explain, is_working_folder_gone, no_working_folder

VERBS: Final = {
    "new": "write a commented starting file for a board",
    "import": "make a file of a Compose file",
    "check": "validate a file; every error at once",
    "module": "cross-build a kernel module for the locked kernel",
    "lock": "resolve packages and images to a lock file",
    "build": "build the card image (or kernel+initrd, tar, oci)",
    "devices": "list the cards that could be flashed, and why the others are refused",
    "flash": "write a card, read it back, compare",
    "provision": "put hostname, SSH key or WiFi on a card that was flashed",
    "run": "boot a file or an image in QEMU as its board",
    "test": "boot, wait until all services are healthy, run the file's checks",
    "deploy": "bring what changed to Pis that are running, checked, and undone if it fails",
    "pkg": "build, push and list the image of one container folder",
    "status": "show how Pis are: versions, temperature, memory, services",
    "ps": "list the services of Pis",
    "logs": "show what a service printed",
    "restart": "stop a service of Pis and start it again",
    "start": "start a service of Pis",
    "stop": "stop a service of Pis",
    "rollback": "go back to what Pis ran before",
    "exec": "run a program in a service's container",
    "shell": "log in to a Pi",
    "cache": "look at the store, empty it, carry it elsewhere",
    "doctor": "say which host tools are missing, or what is wrong with a Pi",
    "schema": "print the JSON schema of the YAML file, for editors",
    "diff": "say what changed between two images",
}
_INTERRUPTED: Final = 130
_OBJECTS_PER_COLLECTION: Final = 50_000


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 input, 3 host tool, 4 device refused."""
    # Imports make many objects and little garbage: looking for it takes a tenth of a small command.
    gc.set_threshold(_OBJECTS_PER_COLLECTION)
    sys.exit(execute(sys.argv[1:]))


def execute(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status."""
    match list(arguments):
        case [] | ["--help"] | ["-h"] | ["help"]:
            say(overview())
            return 0
        case ["--version"]:
            from importlib.metadata import version  # noqa: PLC0415  # slow, and only used here

            say(f"piimage {version('piimage-builder')}")
            return 0
        case [verb, *rest] if verb in VERBS:
            return _guarded(lambda: command(verb)(rest, prog_name=f"piimage {verb}"))
        case [unknown, *_]:
            tell(f"piimage: no command {unknown!r}\n\n{overview()}")
            return 2
        case _:
            raise AssertionError(arguments)


def overview() -> str:
    """Return the list of verbs."""
    width = max(map(len, VERBS))
    lines = [f"  {verb:{width}}  {what}" for verb, what in VERBS.items()]
    return "\n".join(
        [
            "One YAML file becomes a Raspberry Pi that runs your containers.",
            "",
            "usage: piimage COMMAND [OPTIONS] (COMMAND --help says more)",
            "",
            *lines,
        ]
    )


def command(verb: str) -> Callable[..., Any]:
    """Return the verb's command: its module's `app`, or its function of the same name."""
    name = f"{verb}_" if keyword.iskeyword(verb) else verb
    module: ModuleType = importlib.import_module(f"piimage.cli.{name}")
    app: typer.Typer | None = getattr(module, "app", None)
    if app is None:
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(verb, epilog=getattr(module, "EXAMPLE", None))(getattr(module, name))
    return typer.main.get_command(app)


def _guarded(call: Callable[[], object]) -> int:
    """Run `call` and turn whatever ends it into an exit status and at most one message."""
    try:
        _flushing(call)
    except PiimageError as error:
        return _failed(error)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 2
    except KeyboardInterrupt:
        tell("piimage: interrupted")
        return _INTERRUPTED
    except BrokenPipeError:
        return 1
    except Exception as error:  # noqa: BLE001  # the last resort: no traceback for the user
        known = explain(error)
        return _report(error) if known is None else _failed(known)
    return 0


def _flushing(call: Callable[[], object]) -> None:
    """Run `call`, and notice here if what it printed cannot be written."""
    try:
        call()
    finally:
        try:
            sys.stdout.flush()
        except OSError as error:
            # Python tries once more at its end, and would complain in words of its own.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if isinstance(error, BrokenPipeError):
                raise
            raise PiimageError(
                "host.output",
                f"what was printed cannot be written ({error.strerror})",
                place="standard output",
                hint="lead it to a place with room",
            ) from error


def _failed(error: PiimageError) -> int:
    """Show why a command failed, and return the exit status."""
    shown = no_working_folder() if is_working_folder_gone() else error
    show_error(shown)
    return shown.exit_code


def _report(error: Exception) -> int:
    """Keep the traceback of a defect in a file, and say one sentence; return the exit status."""
    tell(f"piimage: internal error: {type(error).__name__}: {error}")
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="piimage-", suffix=".traceback", delete=False, errors="backslashreplace"
        ) as file:
            traceback.print_exception(error, file=file)
    except OSError:  # there is no room for a file: then here
        tell("".join(traceback.format_exception(error)))
        tell("  this is a defect of piimage; please report it with these lines")
        return 1
    tell(f"  this is a defect of piimage; please report it with the file {file.name}")
    return 1
