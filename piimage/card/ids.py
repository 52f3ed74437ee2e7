"""Serial numbers and UUIDs derived from the content of a card, for reproducible builds."""

from __future__ import annotations

import hashlib
import uuid


def number(identity: str, name: str) -> int:
    """Return a 32-bit number, never 0, for the part `name` of the card `identity`."""
    return int.from_bytes(_derived(identity, name)[:4], "big") or 1


def unique_id(identity: str, name: str) -> uuid.UUID:
    """Return the UUID (version 8 of RFC 9562) for the part `name` of the card `identity`."""
    raw = bytearray(_derived(identity, name)[:16])
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    return uuid.UUID(bytes=bytes(raw))


def _derived(identity: str, name: str) -> bytes:
    return hashlib.sha256(f"{identity}\0{name}".encode("utf-8", "surrogateescape")).digest()
