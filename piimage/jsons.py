"""The JSON format of all documents beside a card."""

from __future__ import annotations

import json


def json_bytes(document: object) -> bytes:
    r"""Return `document` as indented UTF-8.

    A file name that is not UTF-8 is text with lone surrogates, which UTF-8 cannot encode. They are
    written as JSON's escapes (``\udcff``), so that a reader gets the same name.
    """
    text = json.dumps(document, indent=1, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace") + b"\n"
