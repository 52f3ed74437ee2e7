"""A bill as SPDX 2.3 JSON (spdx.github.io/spdx-spec/v2.3)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from piimage.clock import EPOCH
from piimage.jsons import json_bytes
from piimage.sbom.model import Bill, Component, Kind

_UNKNOWN: Final = "NOASSERTION"
_ROOT: Final = "SPDXRef-card"
_PURPOSE: Final = {
    Kind.DEBIAN: "LIBRARY",
    Kind.IMAGE: "CONTAINER",
    Kind.WHEEL: "LIBRARY",
    Kind.FILE: "FILE",
}


def encode(bill: Bill, tool_version: str) -> bytes:
    """Return the bill as an SPDX document; its time is EPOCH, its IDs depend on digests."""
    parts = [_package(component) for component in bill.components]
    document = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": bill.name,
        "documentNamespace": f"urn:uuid:{bill.id}",
        "creationInfo": {
            "created": datetime.fromtimestamp(EPOCH, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "creators": [f"Tool: piimage-{tool_version}"],
        },
        "packages": [_card(bill), *parts],
        "relationships": [
            _relationship("SPDXRef-DOCUMENT", "DESCRIBES", _ROOT),
            *(_relationship(_ROOT, "CONTAINS", part["SPDXID"]) for part in parts),
        ],
    }
    return json_bytes(document)


def _relationship(of: str, kind: str, to: str) -> dict[str, str]:
    return {"spdxElementId": of, "relationshipType": kind, "relatedSpdxElement": to}


def _card(bill: Bill) -> dict[str, Any]:
    return {
        "SPDXID": _ROOT,
        "name": bill.name,
        "versionInfo": bill.identity,
        "primaryPackagePurpose": bill.purpose,
        **_unstated(None),
    }


def _unstated(licence: str | None) -> dict[str, Any]:
    return {
        "downloadLocation": _UNKNOWN,
        "filesAnalyzed": False,
        "licenseConcluded": _UNKNOWN,
        "licenseDeclared": licence or _UNKNOWN,
        "copyrightText": _UNKNOWN,
    }


def _package(component: Component) -> dict[str, Any]:
    package: dict[str, Any] = {
        "SPDXID": f"SPDXRef-{component.reference}",
        "name": component.name,
        "versionInfo": component.version,
        "primaryPackagePurpose": _PURPOSE[component.kind],
        "checksums": [{"algorithm": "SHA256", "checksumValue": component.sha256}],
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": component.purl,
            }
        ],
        **_unstated(component.licence),
    }
    if component.source:
        package["sourceInfo"] = f"built from {component.source} {component.source_version or ''}"
    if component.path:
        package["packageFileName"] = component.path
    if component.used_by:
        package["comment"] = f"used by {', '.join(component.used_by)}"
    return package
