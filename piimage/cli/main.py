"""The command line: each verb has its own module, imported only when the verb is used."""

from __future__ import annotations

import gc
import importlib
import keyword
import os
import signal
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
    "import": "convert a Compose file to a piimage file",
    "check": "validate a file and report every error at once",
    "module": "cross-build a kernel module for the locked kernel",
    "lock": "resolve packages, wheels and images to a lock file",
    "build": "build the card image (or kernel+initrd, tar, oci)",
    "devices": "list the disks that can be flashed, and why the others are refused",
    "flash": "write an image to a card and verify it",
    "provision": "set hostname, SSH keys, network or time zone on a flashed card",
    "run": "boot a file or an image in QEMU",
    "test": "boot a file in QEMU, wait until its services are healthy, run its checks",
    "sensors": "list the chips that the kernel has drivers for",
    "discover": "list the Pis on the local network",
    "deploy": "send changes to running Pis; roll back if a service is not healthy",
    "bundle": "write one signed file for update servers, or verify one",
    "pkg": "build, push and list the image of one container folder",
    "status": "show board, versions, temperature, memory and services of Pis",
    "ps": "list the services of Pis",
    "logs": "show the output of a service",
    "restart": "restart a service on Pis",
    "start": "start a service on Pis",
    "stop": "stop a service on Pis",
    "secret": "set, list and remove the secrets of Pis",
    "rollback": "return Pis to the release before the last deploy",
    "backup": "copy the data of a Pi's services to a file",
    "restore": "bring the data of a Pi's services back from a file",
    "exec": "run a program in a service's container",
    "shell": "log in to a Pi",
    "cache": "show, clean, export or import the local store",
    "doctor": "list missing host tools, or report on a Pi's hardware",
    "schema": "print the JSON schema of the YAML file for editors",
    "diff": "show what changed between two images",
    "completion": "print the script for completion in bash, zsh or fish",
}
COMPLETION: Final = "_PIIMAGE_COMPLETE"
"""The environment variable by which a shell's completion script asks for completions."""
_INTERRUPTED: Final = 130
_OBJECTS_PER_COLLECTION: Final = 50_000


def main() -> None:
    """Run the command line; exit with 0 done, 1 failed, 2 input, 3 host tool, 4 device refused."""
    # Imports create many objects and little garbage; collecting takes a tenth of a short command.
    gc.set_threshold(_OBJECTS_PER_COLLECTION)
    _end_like_interrupted()
    if COMPLETION in os.environ:
        from piimage.cli.completion import complete  # noqa: PLC0415  # slow, and only used here

        complete()
    sys.exit(execute(sys.argv[1:]))


def _end_like_interrupted() -> None:
    """Handle SIGTERM and SIGHUP as Ctrl-C, so that emulators and other programs are ended too.

    A signal that is ignored stays so (nohup).
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


def execute(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
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
            tell(f"piimage: there is no command {unknown!r}\n\n{overview()}")
            return 2
        case _:
            raise AssertionError(arguments)


def overview() -> str:
    """Return the list of verbs."""
    width = max(map(len, VERBS))
    lines = [f"  {verb:{width}}  {summary}" for verb, summary in VERBS.items()]
    return "\n".join(
        [
            "One YAML file becomes a Raspberry Pi that runs your containers.",
            "",
            "usage: piimage COMMAND [OPTIONS] (COMMAND --help shows its options)",
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
        app.command(
            verb,
            epilog=getattr(module, "EXAMPLE", None),
            context_settings=getattr(module, "SETTINGS", None),
        )(getattr(module, name))
    return typer.main.get_command(app)


def _guarded(call: Callable[[], object]) -> int:
    """Run `call` and turn any exception into an exit code and at most one message."""
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
    except Exception as error:  # noqa: BLE001  # the last resort: users see no traceback
        host_error = explain(error)
        return _report(error) if host_error is None else _failed(host_error)
    return 0


def _flushing(call: Callable[[], object]) -> None:
    """Run `call` and flush its output; raise if the output cannot be written."""
    try:
        call()
    finally:
        try:
            sys.stdout.flush()
        except OSError as error:
            # Python flushes again when it exits, and would print a message of its own.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if isinstance(error, BrokenPipeError):
                raise
            raise PiimageError(
                "host.output",
                f"the output cannot be written ({error.strerror})",
                place="standard output",
                hint="redirect it to a file system with free space",
            ) from error


def _failed(error: PiimageError) -> int:
    """Show why a command failed, and return the exit code."""
    shown = no_working_folder() if is_working_folder_gone() else error
    show_error(shown)
    return shown.exit_code


def _report(error: Exception) -> int:
    """Write the traceback of a defect to a file, print one sentence, and return the exit code."""
    tell(f"piimage: internal error: {type(error).__name__}: {error}")
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="piimage-", suffix=".traceback", delete=False, errors="backslashreplace"
        ) as file:
            traceback.print_exception(error, file=file)
    except OSError:  # the file cannot be written, so the traceback is printed
        tell("".join(traceback.format_exception(error)))
        tell("  this is a bug in piimage; please report it with these lines")
        return 1
    tell(f"  this is a bug in piimage; please report it with the file {file.name}")
    return 1
