"""The reason why packages cannot be installed together, in one readable paragraph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import solv

from piimage.debian.universe import Candidate
from piimage.errors import PiimageError


def explain(
    problems: Iterable[Any], of_id: Mapping[int, Candidate], texts: Mapping[int, str], root: str
) -> PiimageError:
    """Return the error for the `problems` of libsolv.

    `of_id` maps solvables to candidates, `texts` dependencies to Debian's notation.
    """
    sentences = dict.fromkeys(
        sentence for problem in problems for sentence in _sentences(problem, of_id, texts)
    )
    return PiimageError(
        "debian.conflict",
        f"these packages cannot be installed together: {'; '.join(sentences)}",
        place=root,
        hint="leave one of them out, or request another version (name=version, name/suite)",
    )


def _sentences(
    problem: Any,  # noqa: ANN401  # the bindings have no types
    of_id: Mapping[int, Candidate],
    texts: Mapping[int, str],
) -> Iterator[str]:
    for rule in problem.findallproblemrules():
        info = rule.info()
        kind = info.type
        if kind == solv.Solver.SOLVER_RULE_PKG_NOTHING_PROVIDES_DEP:
            yield (
                f"{of_id[info.solvable.id]} depends on {texts[info.dep_id]}, "
                "which no package in the archive satisfies"
            )
        elif kind == solv.Solver.SOLVER_RULE_PKG_REQUIRES:
            yield f"{of_id[info.solvable.id]} depends on {texts[info.dep_id]}"
        elif kind == solv.Solver.SOLVER_RULE_PKG_CONFLICTS:
            other = of_id[info.othersolvable.id]
            yield f"{of_id[info.solvable.id]} conflicts with {texts[info.dep_id]} ({other})"
        elif kind == solv.Solver.SOLVER_RULE_PKG_SAME_NAME:
            package, other = of_id[info.solvable.id], of_id[info.othersolvable.id]
            yield f"{package} and {other} are two versions of one package"
        else:
            # No other rule is known to appear: what is requested exists (`_Resolver._refusal`).
            yield str(info.problemstr())
