"""Which changes are made: a choice of cosmic-ray's, and two of our own.

Of cosmic-ray's two hundred those are left out whose mutants nearly always fall over at once
(``+`` to ``@``) or nearly never mean anything (``is`` to ``==``): they would only flatter or
spoil the figure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator
from parso.python.tree import Keyword, String

Position = tuple[tuple[int, int], tuple[int, int]]

_BINARY = (
    *("Add_Sub", "Sub_Add", "Mul_Add", "Mul_Div", "Div_Mul", "FloorDiv_Mul", "Mod_Add", "Pow_Mul"),
    *("LShift_RShift", "RShift_LShift", "BitAnd_BitOr", "BitOr_BitAnd", "BitXor_BitAnd"),
)
_COMPARISON = (
    *("Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt", "Lt_Gt", "LtE_GtE", "Gt_Lt", "GtE_LtE"),
    *("Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is"),
)
_UNARY = ("Delete_Not", "USub_UAdd", "Delete_Invert")
_PLAIN = (
    *("NumberReplacer", "AddNot", "ReplaceAndWithOr", "ReplaceOrWithAnd", "ReplaceTrueWithFalse"),
    *("ReplaceFalseWithTrue", "ReplaceBreakWithContinue", "ReplaceContinueWithBreak"),
    *("ExceptionReplacer", "ZeroIterationForLoop"),
)
_WORD = re.compile(r"""[bruBRU]*(['"])[\w./:=<>-]+\1""")


class DropStatement(Operator):
    """A statement that is only a call, or a ``raise``, becomes ``pass``: fsync, chmod, refusals.

    cosmic-ray has nothing of the kind, and it is what goes missing in code that guards.
    """

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        if node.type == "simple_stmt" and self._droppable(node.children[0]):
            yield node.children[0].start_pos, node.children[0].end_pos

    def mutate(self, node: Any, index: int) -> Any:
        old = node.children[0]
        node.children[0] = Keyword("pass", old.start_pos, old.get_first_leaf().prefix)
        return node

    def _droppable(self, statement: Any) -> bool:
        if statement.type == "raise_stmt" or statement == "raise":
            return True
        last = statement.children[-1] if statement.type in ("atom_expr", "power") else None
        return getattr(last, "type", "") == "trailer" and last.children[0] == "("

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


class ChangeWord(Operator):
    """A text without blanks gets a letter more: names of flags, of files, of kinds."""

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        if isinstance(node, String) and _WORD.fullmatch(node.value):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        value = node.value[:-1] + "x" + node.value[-1]
        return String(value, node.start_pos, node.prefix)

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


def operators() -> dict[str, Operator]:
    """Every operator by its name."""
    names = [
        *_PLAIN,
        *(f"ReplaceBinaryOperator_{n}" for n in _BINARY),
        *(f"ReplaceComparisonOperator_{n}" for n in _COMPARISON),
        *(f"ReplaceUnaryOperator_{n}" for n in _UNARY),
    ]
    theirs = {name: get_operator(f"core/{name}")() for name in names}
    return theirs | {"DropStatement": DropStatement(), "ChangeWord": ChangeWord()}
