"""The options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Verbose = Annotated[
    bool, typer.Option("-v", "--verbose", help="Print each external command, ready to paste.")
]
Json = Annotated[bool, typer.Option("--json", help="Print events as JSON, one a line.")]
Offline = Annotated[bool, typer.Option("--offline", help="Use only what the store has.")]
Mirror = Annotated[
    str | None,
    typer.Option("--mirror", envvar="PIIMAGE_MIRROR", help="Debian archive to fetch from."),
]
Snapshot = Annotated[
    str | None,
    typer.Option("--snapshot", help="Archive that still has packages which left the mirror."),
]
Keyring = Annotated[
    Path | None, typer.Option("--keyring", help="Keys that sign the archive; else Debian's.")
]
Builder = Annotated[
    str | None,
    typer.Option("--builder", help="BuildKit for folders with a Dockerfile, as buildx calls it."),
]
Index = Annotated[
    str | None,
    typer.Option("--index", envvar="PIIMAGE_INDEX", help="Python package index; else pip's own."),
]
Sets = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override one value of the file.")
]
Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="YAML files, merged in turn.")]
Insecure = Annotated[
    list[str],
    typer.Option("--insecure-registry", metavar="HOST", help="Registry that may speak plain HTTP."),
]
Certificates = Annotated[
    Path | None, typer.Option("--registry-certs", help="Folder with a registry's CA (*.crt).")
]
