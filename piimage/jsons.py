"""JSON as all documents beside a card are written."""

from __future__ import annotations

import json


def json_bytes(document: object) -> bytes:
    r"""Return `document` as indented UTF-8.

    A file name that is no UTF-8 is text with lone surrogates, which UTF-8 cannot hold: each is
    written as JSON's own escape for it (``\udcff``), from which the name can be had again.
    """
    text = json.dumps(document, indent=1, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace") + b"\n"
