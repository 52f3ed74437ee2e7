"""Validation errors as errors of the input: positions, plain words, what to write instead."""

import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from piimage.config.paths import SECTIONS
from piimage.config.values import PROBLEM, closest, did_you_mean, quoted
from piimage.document.document import VARIABLES, Document, plain
from piimage.document.nodes import ScalarNode
from piimage.errors import InputError, PiimageError

Schema = Mapping[str, Any]

_VARIABLE: Final = re.compile(r"(?<!\$)\$\{([A-Za-z_][A-Za-z0-9_]*)")

_EXPECTED: Final = {
    "string_type": ("text", "text; quotes make text of a number"),
    "bool_type": ("a truth value", "true or false"),
    "bool_parsing": ("a truth value", "true or false"),
    "int_type": ("a whole number", "digits alone"),
    "int_parsing": ("a whole number", "digits alone"),
    "int_from_float": ("a whole number", "digits alone"),
    "tuple_type": ("a list", "[A, B], or one '- ITEM' a line"),
    "list_type": ("a list", "[A, B], or one '- ITEM' a line"),
    "dict_type": ("a mapping", "KEY: VALUE lines, indented"),
    "model_type": ("a mapping", "KEY: VALUE lines, indented"),
    "model_attributes_type": ("a mapping", "KEY: VALUE lines, indented"),
}
_BOUNDS: Final = {
    "greater_than_equal": ("ge", "or more"),
    "less_than_equal": ("le", "or less"),
    "greater_than": ("gt", "is too little; more"),
    "less_than": ("lt", "is too much; less"),
}


_RESTART: Final = re.compile("unless-stopped|on-failure:[0-9]+")
"""Policies of restart that are Compose's alone."""

_OTHER_FORM: Final = frozenset({"tuple_type", "list_type", "string_type"})
"""Errors of a key that Compose has as well, and writes in another form."""


def input_errors(
    error: ValidationError, model: type[BaseModel], document: Document
) -> Iterator[PiimageError]:
    """Give the errors in `error` with their places in `document`."""
    schema = _schema(model)
    for detail in error.errors(include_url=False):
        yield _input_error(detail, schema, document)


@functools.cache
def _schema(model: type[BaseModel]) -> Schema:
    return model.model_json_schema()


def _input_error(detail: ErrorDetails, schema: Schema, document: Document) -> PiimageError:
    path, kind = detail["loc"], detail["type"]
    if kind == "extra_forbidden":
        key = str(path[-1])
        compose = _compose_instead(path, document)
        known = [name for part in _parts(schema, path[:-1]) for name in part.get("properties", ())]
        return InputError(
            "config.unknown-key",
            f"unknown key {quoted(key)}",
            place=str(document.key_place(path)),
            hint=f"instead: {compose or _key_instead(key, path[:-1], known, schema)}",
        )
    if kind == "missing":
        text = _description(schema, path)
        return InputError(
            "config.missing",
            f"the key {str(path[-1])!r} is missing",
            place=str(document.place(path[:-1])),
            hint=f"instead: {path[-1]}: …{f' ({text})' if text else ''}",
        )
    what, instead = _wrong_value(detail)
    if kind in _OTHER_FORM or _RESTART.fullmatch(str(detail["input"])):
        instead = _compose_instead(path[:3], document) or instead
    node = document.find(path)
    fills = VARIABLES in schema.get("properties", {})
    if fills and isinstance(node, ScalarNode) and (left := _VARIABLE.search(node.text)):
        instead += f"; for ${{{left[1]}}} to be filled in, `variables: [{left[1]}]` at the top"
    return InputError("config.value", what, place=str(node.at), hint=f"instead: {instead}")


def _compose_instead(path: Sequence[str | int], document: Document) -> str | None:
    """Return the line for a word of Compose's at `path`, if it is one of a container."""
    if len(path) != 3 or path[0] not in SECTIONS:
        return None
    from piimage.composefile.hints import instead  # noqa: PLC0415  # only errors need it

    return instead(str(path[2]), plain(document.find(path)))


def _key_instead(key: str, path: Sequence[str | int], known: Iterable[str], schema: Schema) -> str:
    """Return the key that was meant: a close one, or one that belongs elsewhere, or all."""
    names = list(known)
    top = schema.get("properties", {})
    if not closest(key, names) and path and key in top:
        return f"{key}: at the left margin, it is no key of {path[0]}"
    return did_you_mean(key, names)


def _wrong_value(detail: ErrorDetails) -> tuple[str, str]:
    kind, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    if kind == PROBLEM:
        return context["what"], context["instead"]
    if kind in _EXPECTED:
        expected, instead = _EXPECTED[kind]
        return f"{_shown(value)} is not {expected}", instead
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return f"{_shown(value)} is out of range", f"{context[name]} {words}"
    if kind == "literal_error":
        choices = [
            choice.strip("' ") for choice in context["expected"].replace(" or ", ",").split(",")
        ]
        return f"{_shown(value)} is not known here", did_you_mean(str(value), choices)
    if kind.endswith(("too_short", "too_long")):
        few, many = context.get("min_length"), context.get("max_length")
        return (
            f"{_shown(value)} has a wrong length",
            f"at most {many}" if many else f"at least {few}",
        )
    return detail["msg"], "what docs/reference/yaml.md says of this key"


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return quoted(value)


# The schema, to find what is known at a place ------------------------------------------------


def _parts(schema: Schema, path: Sequence[str | int]) -> Iterator[Schema]:
    """Give the schemas that may hold at `path`."""
    here = list(_alternatives(schema, schema))
    for step in path:
        below = [inner for part in here for inner in _step(part, step)]
        if below:  # parts of a location that name a validator have no place in the schema
            here = [one for inner in below for one in _alternatives(inner, schema)]
    yield from here


def _step(part: Schema, step: str | int) -> Iterator[Schema]:
    if isinstance(step, int):
        if "items" in part:
            yield part["items"]
    elif step in part.get("properties", {}):
        yield part["properties"][step]
    elif isinstance(part.get("additionalProperties"), Mapping):
        yield part["additionalProperties"]


def _alternatives(part: Schema, root: Schema) -> Iterator[Schema]:
    if "$ref" in part:
        yield from _alternatives(root["$defs"][part["$ref"].rpartition("/")[2]], root)
    for inner in part.get("anyOf", ()):
        yield from _alternatives(inner, root)
    yield part


def _description(schema: Schema, path: Sequence[str | int]) -> str:
    for part in _parts(schema, path[:-1]):
        found = part.get("properties", {}).get(path[-1])
        if found:
            return str(found.get("description", "")).rstrip(".")
    return ""
