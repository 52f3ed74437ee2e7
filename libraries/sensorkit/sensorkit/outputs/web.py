"""The paths of a sensor service: the page, ``/metrics``, ``/healthz``, and ``/api``.

They are read-only and meant for the local network.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from sensorkit.outputs.documents import Documents
from sensorkit.outputs.prometheus import CONTENT_TYPE, Exposition
from sensorkit.outputs.server import Response, Routes

_DYGRAPHS = Path("/usr/share/javascript/dygraphs")  # Debian's package libjs-dygraphs


def routes(documents: Documents, exposition: Exposition) -> Routes:
    """Return the response of each path."""
    page = _page()
    return {
        "/": lambda: page,
        "/dygraph.css": lambda: _library("dygraph.min.css", "text/css; charset=utf-8"),
        "/dygraph.js": lambda: _library("dygraph.min.js", "text/javascript; charset=utf-8"),
        "/metrics": lambda: Response(exposition.text(), CONTENT_TYPE),
        "/healthz": lambda: _health(documents),
        "/api/current": lambda: Response(_json(documents.current())),
        "/api/history": lambda: Response(_json(documents.plots())),
    }


def _page() -> Response:
    """Return the page, which may use only its own scripts and styles, and only this service."""
    body = Path(__file__).with_name("page.html").read_bytes()
    script, style = (_hash(body, rb"<%b>(.*?)</%b>" % (tag, tag)) for tag in (b"script", b"style"))
    policy = (
        f"default-src 'none'; script-src '{script}' 'self'; style-src '{style}' 'self'; "
        "style-src-attr 'unsafe-inline'; connect-src 'self'; img-src data:"
    )
    return Response(body, "text/html; charset=utf-8", policy=policy)


def _library(name: str, content_type: str) -> Response:
    """Return a file of dygraphs, which draws the plots; without it the page has only values."""
    try:
        return Response((_DYGRAPHS / name).read_bytes(), content_type, cache="no-cache")
    except OSError:
        return Response(b'{"error":"libjs-dygraphs is not installed"}', status=404)


def _hash(body: bytes, pattern: bytes) -> str:
    match = re.search(pattern, body, re.DOTALL)
    digest = hashlib.sha256(match[1] if match else b"").digest()
    return "sha256-" + base64.b64encode(digest).decode()


def _health(documents: Documents) -> Response:
    healthy, document = documents.health()
    return Response(_json(document), status=200 if healthy else 503)


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
