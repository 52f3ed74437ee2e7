"""The JSON schema of the YAML file, and the reference page made from it."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from piimage.config.models import Appliance

Schema = Mapping[str, Any]

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_WORDS: Final = {
    "string": "text",
    "integer": "number",
    "boolean": "true \\| false",
    "object": "mapping",
    "array": "list",
}
_HEAD: Final = """\
# The YAML file

Made by `piimage schema --markdown`; do not edit. A superset of LinuxKit's file: its sections and
keys have LinuxKit's meanings and defaults. `piimage check FILE` reports every error at once.

Several files are merged: scalars override, lists append, mappings merge. `--set a.b=VALUE` sets a
key (items of a list by their `name` or number, `\\.` for a dot in a key). In a file that lists NAME
under `variables:`, `${NAME}` and `${NAME:-DEFAULT}` stand for a variable of the environment or of
`--set NAME=VALUE`, and `$${NAME}` is a literal `${NAME}`; any other `${` is text, as in LinuxKit,
and in a file without `variables:` all are. Relative paths start at the file that says them. YAML is
read by version 1.2: `no` and `on` are words, `0644` and `1.10` keep their digits.
"""


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of the YAML file, in a fixed order."""
    schema = Appliance.model_json_schema()
    definitions = schema["$defs"]
    for part in list(definitions.values()):
        _hoist(part.get("properties", {}), definitions)
    _hoist(schema["properties"], definitions)
    _tidy(schema)
    schema["$defs"] = dict(sorted(definitions.items()))
    return {"$schema": _DRAFT, **schema, "title": "piimage"}


def _hoist(part: Any, definitions: dict[str, Any]) -> None:  # noqa: ANN401  # any JSON
    """Give models that lie inside `part` a place among the definitions, as the others have."""
    if isinstance(part, list):
        for one in part:
            _hoist(one, definitions)
    if not isinstance(part, dict):
        return
    for inner in part.values():
        _hoist(inner, definitions)
    name = part.get("title")
    if "properties" in part and isinstance(name, str):
        definitions.setdefault(name, dict(part))
        part.clear()
        part["$ref"] = f"#/$defs/{name}"


def _tidy(part: object) -> None:
    """Drop titles that repeat the key, and `null` where a key may simply be left out."""
    if isinstance(part, list):
        for one in part:
            _tidy(one)
    if not isinstance(part, dict):
        return
    for name, inner in part.items():
        if name == "properties":
            for field in inner.values():
                field.pop("title", None)
                _without_null(field)
        _tidy(inner)


def _without_null(field: dict[str, Any]) -> None:
    choices = [one for one in field.get("anyOf", ()) if one != {"type": "null"}]
    if len(choices) == len(field.get("anyOf", ())):
        return
    del field["anyOf"]
    if field.get("default", ...) is None:
        del field["default"]
    field.update(choices[0] if len(choices) == 1 else {"anyOf": choices})


def yaml_reference() -> str:
    """Return docs/reference/yaml.md: a table for the file, and one for each part of it."""
    schema = json_schema()
    sections = [_HEAD, *_section("The file", schema)]
    done: set[str] = set()
    waiting = list(_names(schema))
    while waiting:
        name = waiting.pop(0)
        if name not in done:
            done.add(name)
            part = schema["$defs"][name]
            sections += _section(name, part)
            waiting += _names(part)
    return "\n".join(sections)


def _section(title: str, part: Schema) -> list[str]:
    whole = next((one for one in part.get("anyOf", ()) if "properties" in one), part)
    short = " May be written as text: the first key alone." if whole is not part else ""
    head = [f"## {title}\n", f"{whole.get('description', '')}{short}\n"]
    table = ["| key | holds | default | meaning |", "|---|---|---|---|"]
    required = whole.get("required", ())
    rows = [_row(key, field, key in required) for key, field in whole["properties"].items()]
    return [*head, *table, *rows, ""]


def _row(key: str, field: Schema, required: bool) -> str:
    default = "required" if required else _default(field.get("default"))
    meaning = str(field.get("description", "")).replace("|", "\\|")
    return f"| `{key}` | {_kind(field)} | {default} | {meaning} |"


def _default(value: object) -> str:
    if value is None or value in ([], {}):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if isinstance(value, dict) else f"`{value}`"


def _kind(field: Schema) -> str:
    """Return in words what a field holds."""
    match field:
        case {"$ref": str(reference)}:
            name = reference.rpartition("/")[2]
            kind = f"[{name}](#{name.lower()})"
        case {"enum": list(values)}:
            kind = " \\| ".join(f"`{one}`" for one in values)
        case {"const": value}:
            kind = f"`{value}`"
        case {"anyOf": list(choices)}:
            kind = " or ".join(dict.fromkeys(map(_kind, choices)))
        case {"type": "array", "items": items}:
            kind = f"list of {_kind(items)}"
        case {"type": "object", "additionalProperties": dict(inner)}:
            kind = f"mapping to {_kind(inner)}"
        case _:
            kind = _WORDS.get(str(field.get("type")), "anything")
    examples = ", ".join(f"`{one}`" for one in field.get("examples", ()))
    return f"{kind} ({examples})" if examples else kind


def _names(part: object) -> Iterator[str]:
    """Give the names of the definitions that `part` refers to, in order."""
    if isinstance(part, Mapping):
        if "$ref" in part:
            yield part["$ref"].rpartition("/")[2]
        for key, inner in part.items():
            if key != "$defs":
                yield from _names(inner)
    elif isinstance(part, list):
        for one in part:
            yield from _names(one)
