"""What hawkBit documents of the device interface (DDI): requests and answers, held by JSON Schema.

hawkBit itself needs a Java server and is not run here. Sources: its OpenAPI document of the DDI and
"DDI API" of its documentation; the lengths, the characters of attributes and the number of reports
are the limits of hawkBit's own sources in August 2026. Fields that hawkBit ignores are refused, so
that a misspelt one shows; only ``id`` of a report is let through, which older servers want.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

REPORTS: Final = 1000
"""How many reports that end nothing hawkBit takes for one action; more are refused with 403."""

Schema = dict[str, Any]


def _object(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    return {
        "type": "object", "required": list(required), "properties": properties,
        "additionalProperties": False,
    }  # fmt: skip


_TEXT: Final[Schema] = {"type": "string"}
_NUMBER: Final[Schema] = {"type": "string", "pattern": "^-?[0-9]+$"}
_DETAILS: Final[Schema] = {"type": "array", "maxItems": 50, "items": _TEXT}
_LINK: Final = _object(("href",), href={"type": "string", "pattern": "^https?://"})
# The letters and signs that hawkBit takes in names and values of attributes.
_SIGNS: Final = r"^[a-zA-Z0-9_\-!@#$%^&*()+=\[\]{}|;:'\",.<>/\\?\s]{0,128}$"

_FEEDBACK: Final = _object(
    ("status",),
    id=_NUMBER,
    time=_TEXT,
    status=_object(
        ("execution", "result"),
        execution={
            "enum": [
                "closed", "proceeding", "canceled", "scheduled", "rejected", "resumed",
                "downloaded", "download",
            ]
        },
        result=_object(
            ("finished",),
            finished={"enum": ["success", "failure", "none"]},
            progress=_object(("cnt",), cnt={"type": "integer"}, of={"type": "integer"}),
        ),
        code={"type": "integer"},
        details=_DETAILS,
    ),
)  # fmt: skip
_CONFIG_DATA: Final = _object(
    ("data",),
    mode={"enum": ["merge", "replace", "remove"]},
    data={
        "type": "object",
        "minProperties": 1,
        "maxProperties": 100,
        "propertyNames": {"pattern": _SIGNS},
        "additionalProperties": {"type": "string", "pattern": _SIGNS},
    },
)
_CONFIRMATION: Final = _object(
    ("confirmation",),
    confirmation={"enum": ["confirmed", "denied"]},
    code={"type": "integer"},
    details=_DETAILS,
)
_AUTO_CONFIRM: Final = _object(initiator=_TEXT, remark=_TEXT)

_DIGESTS: Final = _object(sha1=_TEXT, md5=_TEXT, sha256=_TEXT)
_ARTIFACT: Final = _object(
    ("filename",),
    filename=_TEXT,
    hashes=_DIGESTS,
    size={"type": "integer"},
    _links=_object(
        (),
        **dict.fromkeys(("download", "md5sum", "download-http", "md5sum-http"), _LINK),
    ),
)
_CHUNK: Final = _object(
    ("part", "version", "name"),
    part=_TEXT,
    version=_TEXT,
    name=_TEXT,
    encrypted={"type": "boolean"},
    artifacts={"type": "array", "items": _ARTIFACT},
    metadata={"type": "array"},
)
_HANDLING: Final[Schema] = {"enum": ["skip", "attempt", "forced"]}
_DEPLOYMENT: Final = _object(
    ("chunks",),
    download=_HANDLING,
    update=_HANDLING,
    maintenanceWindow={"enum": ["available", "unavailable"]},
    chunks={"type": "array", "items": _CHUNK},
)
_HISTORY: Final = _object(status=_TEXT, messages={"type": "array"})
_BASE: Final = _object(
    (),
    config=_object(polling=_object(sleep={"type": "string", "pattern": r"^\d\d:\d\d:\d\d$"})),
    _links=_object(
        (),
        **dict.fromkeys(
            ("deploymentBase", "configData", "cancelAction", "installedBase", "confirmationBase"),
            _LINK,
        ),
    ),
)
_AUTO_STATE: Final = _object(
    ("active",),
    active={"type": "boolean"},
    initiator=_TEXT,
    remark=_TEXT,
    activatedAt={"type": "integer"},
)
_NOTHING: Final[Schema] = {"type": "null"}

# Method, path below the device's own, and the schemas of the request and of a good answer.
_OPERATIONS: Final = (
    ("GET", r"", _NOTHING, _BASE),
    ("PUT", r"/configData", _CONFIG_DATA, None),
    (
        "GET", r"/deploymentBase/-?\d+", _NOTHING,
        _object(("id", "deployment"), id=_NUMBER, deployment=_DEPLOYMENT, actionHistory=_HISTORY),
    ),
    ("POST", r"/deploymentBase/-?\d+/feedback", _FEEDBACK, None),
    (
        "GET", r"/cancelAction/-?\d+", _NOTHING,
        _object(("cancelAction",), id=_NUMBER, cancelAction=_object(("stopId",), stopId=_NUMBER)),
    ),
    ("POST", r"/cancelAction/-?\d+/feedback", _FEEDBACK, None),
    (
        "GET", r"/confirmationBase", _NOTHING,
        _object(
            ("autoConfirm",),
            autoConfirm=_AUTO_STATE,
            _links=_object(
                (),
                **dict.fromkeys(
                    ("activateAutoConfirm", "deactivateAutoConfirm", "confirmationBase"), _LINK
                ),
            ),
        ),
    ),
    (
        "GET", r"/confirmationBase/-?\d+", _NOTHING,
        _object(
            ("id", "confirmation"), id=_NUMBER, confirmation=_DEPLOYMENT, actionHistory=_HISTORY
        ),
    ),
    ("POST", r"/confirmationBase/-?\d+/feedback", _CONFIRMATION, None),
    (
        "POST", r"/confirmationBase/activateAutoConfirm",
        {"anyOf": [_AUTO_CONFIRM, _NOTHING]}, None,
    ),
    ("POST", r"/confirmationBase/deactivateAutoConfirm", _NOTHING, None),
)  # fmt: skip
_DEVICE: Final = r"/[^/?]+/controller/v1/[^/?]{1,256}"


@cache
def _operations() -> tuple[tuple[str, re.Pattern[str], Validator, Validator | None], ...]:
    import jsonschema  # takes more than a second

    make = jsonschema.Draft202012Validator
    return tuple(
        (method, re.compile(rf"{_DEVICE}{path}(\?.*)?"), make(wanted), answer and make(answer))
        for method, path, wanted, answer in _OPERATIONS
    )


def request_faults(
    method: str, target: str, headers: Mapping[str, str], body: object
) -> Iterator[str]:
    """Give what hawkBit would not take of a request; `body` is None if there is none."""
    found = [
        wanted for known, path, wanted, _ in _operations()
        if known == method and path.fullmatch(target)
    ]  # fmt: skip
    if not found:
        yield f"{method} {target}: there is no such operation"
        return
    if body is not None and headers.get("Content-Type") != "application/json":
        yield f"{method} {target}: its content has another type than application/json"
    if "application/json" not in headers.get("Accept", "*/*"):
        yield f"{method} {target}: it does not accept JSON"
    for error in found[0].iter_errors(body):
        yield f"{method} {target}: {'/'.join(map(str, error.path))}: {error.message}"


def answer_faults(method: str, target: str, answer: object) -> Iterator[str]:
    """Give what hawkBit would not answer."""
    for known, path, _, schema in _operations():
        if known == method and path.fullmatch(target) and schema is not None:
            for error in schema.iter_errors(answer):
                yield f"{method} {target}: {'/'.join(map(str, error.path))}: {error.message}"
