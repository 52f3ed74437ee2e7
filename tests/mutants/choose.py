"""Which places of a file are changed, and how: the same ones for the same seed and code."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

from tests.mutants.operators import Position, operators
from tests.mutants.rooms import Mutant


@dataclass(frozen=True)
class Place:
    """Where an operator can change a file, as its nth time there."""

    file: str
    position: Position
    operator: str
    occurrence: int

    def rank(self, seed: int) -> str:
        """Its place in the order that `seed` makes."""
        words = (seed, self.file, self.operator, self.occurrence)
        return hashlib.sha256(repr(words).encode()).hexdigest()


def sample(root: Path, files: Sequence[str], size: int, seed: int) -> list[Mutant]:
    """At most `size` mutants of these files, one for each place that is chosen."""
    places = sorted(
        (place for file in files for place in _places(file, (root / file).read_text())),
        key=lambda place: place.rank(seed),
    )
    first: dict[tuple[str, Position], Place] = {}
    for place in places:
        first.setdefault((place.file, place.position), place)
    texts = {file: (root / file).read_text() for file in files}
    made = ((place, _mutant(place, texts[place.file])) for place in first.values())
    chosen = islice(((place, mutant) for place, mutant in made if mutant is not None), size)
    return [m for _, m in sorted(chosen, key=lambda pair: (pair[0].file, pair[0].position))]


def _places(file: str, text: str) -> Iterator[Place]:
    nodes = list(ast_nodes(get_ast(text)))
    meaningless = [*_meaningless(ast.parse(text)), *_bare_stars(text)]
    for name, operator in operators().items():
        positions = (p for node in nodes for p in operator.mutation_positions(node))
        for occurrence, position in enumerate(positions):
            inside = name != "DropStatement" and _within(position, meaningless)
            if not inside:
                yield Place(file, position, name, occurrence)


def _meaningless(tree: ast.AST) -> Iterator[Position]:
    """Where a change shows nothing: annotations, decorators, docstrings, words of messages.

    The star of an unpacking is no multiplication: as a slash, it is not Python at all.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Starred):
            yield (node.lineno, node.col_offset), (node.lineno, node.col_offset + 1)
        annotations = (getattr(node, "annotation", None), getattr(node, "returns", None))
        skipped: Iterable[ast.AST | None] = (*annotations, *getattr(node, "decorator_list", ()))
        if isinstance(node, ast.Raise) or (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        ):
            skipped = (*skipped, node)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            skipped = (*skipped, node)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            skipped = (*skipped, node)  # the linter notices a name that is not there
        for part in skipped:
            if part is not None:
                yield _span(part)


def _bare_stars(text: str) -> Iterator[Position]:
    """Where a star ends the positional parameters, which the syntax tree does not tell."""
    for number, line in enumerate(text.splitlines(), 1):
        for star in re.finditer(r"\*(?=,)", line):
            yield (number, star.start()), (number, star.end())


def _span(node: ast.AST) -> Position:
    start, end = node.lineno, node.end_lineno  # type: ignore[attr-defined]
    return (start, node.col_offset), (end, node.end_col_offset)  # type: ignore[attr-defined]


def _within(position: Position, spans: Iterable[Position]) -> bool:
    return any(start <= position[0] and position[1] <= end for start, end in spans)


def _mutant(place: Place, text: str) -> Mutant | None:
    try:
        changed = mutate_code(text, operators()[place.operator], place.occurrence)
    except AttributeError:
        return None  # cosmic-ray replaces no exception whose name has a dot
    assert changed is not None, place
    old, new = text.splitlines(), changed.splitlines()
    index = next(i for i, line in enumerate(old) if i >= len(new) or line != new[i])
    after = new[index].strip() if index < len(new) else ""
    return Mutant(place.file, index + 1, old[index].strip(), after, changed)
