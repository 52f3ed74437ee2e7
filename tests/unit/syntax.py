"""The syntax of sources, for tests that hold the code against a rule."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path


def nodes(folder: Path, word: str, files: str = "*.py") -> Iterator[tuple[Path, ast.AST]]:
    """Give each node of the `files` below `folder` whose text has `word`, with its file.

    A node that the caller looks for contains `word`: to parse the other files would take seconds.
    """
    for path in sorted(folder.rglob(files)):
        text = path.read_text()
        if word in text:
            yield from ((path, node) for node in ast.walk(ast.parse(text)))
