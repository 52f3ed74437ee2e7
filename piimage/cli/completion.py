"""`piimage completion`: the script that completes verbs, options and values in a shell.

Typer's scripts run piimage with the variable `main.COMPLETION` set, each time that Tab is pressed.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer
from typer.completion import (  # type: ignore[attr-defined]  # typer lists no exports
    completion_init,
    get_completion_script,
)
from typer.core import TyperCommand, TyperGroup

from piimage.cli.main import COMPLETION, VERBS, command
from piimage.cli.output import put

EXAMPLE = "Example: piimage completion bash > ~/.local/share/bash-completion/completions/piimage"


class Shell(StrEnum):
    """The shells that there is a script for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> None:
    """Print the script that completes piimage's verbs, options and values in SHELL.

    docs/install.md says where each shell reads it from.
    """
    script = get_completion_script(prog_name="piimage", complete_var=COMPLETION, shell=shell.value)
    put(f"{script}\n")


class _Verbs(TyperGroup):
    """All verbs as one command; a verb's module is imported only if the verb is on the line."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401  # the library's own
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401
        return TyperCommand(cmd_name, help=VERBS[cmd_name]) if cmd_name in VERBS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401
        name, stub, rest = super().resolve_command(ctx, args)
        return name, command(name) if name in VERBS else stub, rest


def complete() -> None:
    """Answer the shell's question in the environment; ends the process with SystemExit."""
    completion_init()
    app = typer.Typer(cls=_Verbs, add_completion=False, rich_markup_mode=None)
    app.callback()(lambda: None)
    typer.main.get_command(app)(prog_name="piimage")
