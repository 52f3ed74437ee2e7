"""Validation errors as errors of the input: the place, the cause, and a hint."""

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
    "string_type": ("text", "text; put quotes around a number"),
    "bool_type": ("a truth value", "true or false"),
    "bool_parsing": ("a truth value", "true or false"),
    "int_type": ("a whole number", "digits only"),
    "int_parsing": ("a whole number", "digits only"),
    "int_from_float": ("a whole number", "digits only"),
    "tuple_type": ("a list", "[A, B], or one '- ITEM' per line"),
    "list_type": ("a list", "[A, B], or one '- ITEM' per line"),
    "dict_type": ("a mapping", "indented KEY: VALUE lines"),
    "model_type": ("a mapping", "indented KEY: VALUE lines"),
    "model_attributes_type": ("a mapping", "indented KEY: VALUE lines"),
}
_BOUNDS: Final = {
    "greater_than_equal": ("ge", "{} or more"),
    "less_than_equal": ("le", "{} or less"),
    "greater_than": ("gt", "more than {}"),
    "less_than": ("lt", "less than {}"),
}

_RESTART: Final = re.compile("unless-stopped|on-failure:[0-9]+")
"""Restart policies that only Compose has."""

_OTHER_FORM: Final = frozenset({"tuple_type", "list_type", "string_type"})
"""Types of errors that a value in the form of Compose causes for a key that both have."""


def input_errors(
    error: ValidationError, model: type[BaseModel], document: Document
) -> Iterator[PiimageError]:
    """Give the errors in `error`, each with its place in `document`."""
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
            hint=f"add: {path[-1]}: …{f' ({text})' if text else ''}",
        )
    message, instead = _wrong_value(detail)
    if kind in _OTHER_FORM or _RESTART.fullmatch(str(detail["input"])):
        instead = _compose_instead(path[:3], document) or instead
    node = document.find(path)
    has_variables = VARIABLES in schema.get("properties", {})
    if has_variables and isinstance(node, ScalarNode) and (match := _VARIABLE.search(node.text)):
        name = match[1]
        instead += f"; to use the variable ${{{name}}}, add `variables: [{name}]` at the top"
    return InputError("config.value", message, place=str(node.at), hint=f"instead: {instead}")


def _compose_instead(path: Sequence[str | int], document: Document) -> str | None:
    """Return the YAML that replaces a key of Compose at `path` in a container's entry."""
    if len(path) != 3 or path[0] not in SECTIONS:
        return None
    from piimage.composefile.hints import instead  # noqa: PLC0415  # only errors need it

    return instead(str(path[2]), plain(document.find(path)))


def _key_instead(key: str, path: Sequence[str | int], known: Iterable[str], schema: Schema) -> str:
    """Return a similar key, or say that `key` belongs to the top level, or list all keys."""
    names = list(known)
    top = schema.get("properties", {})
    if not closest(key, names) and path and key in top:
        return f"{key}: at the top level of the file; {path[0]} has no such key"
    return did_you_mean(key, names)


def _wrong_value(detail: ErrorDetails) -> tuple[str, str]:
    kind, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    if kind == PROBLEM:
        return context["message"], context["instead"]
    if kind in _EXPECTED:
        expected, instead = _EXPECTED[kind]
        return f"{_shown(value)} is not {expected}", instead
    return _out_of_bounds(detail)


def _out_of_bounds(detail: ErrorDetails) -> tuple[str, str]:
    kind, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return f"{_shown(value)} is out of range", words.format(context[name])
    if kind == "literal_error":
        choices = [
            choice.strip("' ") for choice in context["expected"].replace(" or ", ",").split(",")
        ]
        return f"{_shown(value)} is not a valid value", did_you_mean(str(value), choices)
    unit = "characters" if isinstance(value, str) else "items"
    if kind.endswith("too_short"):
        return f"{_shown(value)} is too short", f"at least {context['min_length']} {unit}"
    if kind.endswith("too_long"):
        return f"{_shown(value)} is too long", f"at most {context['max_length']} {unit}"
    return detail["msg"], "a value that docs/reference/yaml.md allows for this key"


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return quoted(value)


# Looking up a path in the schema ------------------------------------------------


def _parts(schema: Schema, path: Sequence[str | int]) -> Iterator[Schema]:
    """Give the schemas that may hold at `path`."""
    parts = list(_alternatives(schema, schema))
    for step in path:
        inner = [child for part in parts for child in _step(part, step)]
        if inner:  # parts of a location that name a validator have no place in the schema
            parts = [choice for child in inner for choice in _alternatives(child, schema)]
    yield from parts


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
    for inner in (*part.get("anyOf", ()), *part.get("oneOf", ())):
        yield from _alternatives(inner, root)
    yield part


def _description(schema: Schema, path: Sequence[str | int]) -> str:
    for part in _parts(schema, path[:-1]):
        field = part.get("properties", {}).get(path[-1])
        if field:
            return str(field.get("description", "")).rstrip(".")
    return ""
