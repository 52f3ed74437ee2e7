"""A bill as CycloneDX 1.6 JSON (cyclonedx.org/docs/1.6/json)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from piimage.clock import EPOCH
from piimage.jsons import json_bytes
from piimage.sbom.model import Bill, Component, Kind

_TYPE: Final = {
    Kind.DEBIAN: "library",
    Kind.IMAGE: "container",
    Kind.WHEEL: "library",
    Kind.FILE: "file",
}


def encode(bill: Bill, tool_version: str) -> bytes:
    """Return the bill as a CycloneDX document; its time is EPOCH, its IDs depend on digests."""
    card = {
        "type": "operating-system",
        "bom-ref": "card",
        "name": bill.name,
        "version": bill.identity,
    }
    tool = {"type": "application", "name": "piimage", "version": tool_version}
    refs = [component.reference for component in bill.components]
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{bill.id}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(EPOCH, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "tools": {"components": [tool]},
            "component": card,
        },
        "components": [_component(component) for component in bill.components],
        "dependencies": [{"ref": "card", "dependsOn": refs}, *({"ref": ref} for ref in refs)],
    }
    return json_bytes(document)


def _component(component: Component) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "type": _TYPE[component.kind],
        "bom-ref": component.reference,
        "name": component.name,
        "version": component.version,
        "hashes": [{"alg": "SHA-256", "content": component.sha256}],
        "purl": component.purl,
    }
    if component.licence:
        entry["licenses"] = [{"expression": component.licence}]
    if properties := _properties(component):
        entry["properties"] = properties
    return entry


def _properties(component: Component) -> list[dict[str, str]]:
    properties = [
        ("piimage:source", component.source),
        ("piimage:source-version", component.source_version),
        ("piimage:path", component.path),
        *(("piimage:used-by", place) for place in component.used_by),
    ]
    return [{"name": name, "value": value} for name, value in properties if value]
