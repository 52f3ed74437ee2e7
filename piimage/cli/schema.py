"""`piimage schema`: the YAML file's schema for editors, and its reference for people."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from piimage.cli.output import put

EXAMPLE = "Example: piimage schema > piimage.schema.json"


def schema(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the reference page as Markdown instead.")
    ] = False,
) -> None:
    """Print the JSON schema of the YAML file for editors (# yaml-language-server: $schema=...)."""
    from piimage.config.reference import json_schema, yaml_reference  # noqa: PLC0415  # slow

    text = yaml_reference() if markdown else json.dumps(json_schema(), indent=2) + "\n"
    put(text)
