"""WiFi networks in the configuration of wpa_supplicant."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Final

WANTED: Final = "8 to 63 ASCII characters, or 64 hex digits"
_MOST: Final = 4096
"""The characters of a file that are read; a passphrase is shorter."""
_KEY: Final = re.compile(r"[0-9a-fA-F]{64}")
_PHRASE: Final = re.compile(r"[ -~]{8,63}")


def is_passphrase(secret: str) -> bool:
    """Return whether `secret` is a valid passphrase, or the key itself in hexadecimal."""
    return bool(_PHRASE.fullmatch(secret) or _KEY.fullmatch(secret))


def secret_in(file: Path) -> str | None:
    """Return the passphrase in the first line of `file`, or None if it is not valid.

    Raises OSError.
    """
    with file.open(errors="replace") as stream:
        lines = stream.read(_MOST).splitlines()
    return lines[0] if lines and is_passphrase(lines[0]) else None


def network(ssid: str, secret: str | None, *, hidden: bool = False, priority: int = 0) -> str:
    """Return wpa_supplicant's block of a network; a network without `secret` is open.

    Of several networks in reach, one with the highest `priority` is joined.

    The block holds the derived key, never the passphrase. Name and key are hexadecimal, so that no
    character of them is read as syntax. The derivation is that of IEEE 802.11-2020, J.4.1.
    """
    name = ssid.encode()
    lines = [f"ssid={name.hex()}"]
    if hidden:
        lines.append("scan_ssid=1")
    if priority:
        lines.append(f"priority={priority}")
    if secret is None:
        lines.append("key_mgmt=NONE")
    elif _KEY.fullmatch(secret):
        lines.append(f"psk={secret.lower()}")
    else:
        key = hashlib.pbkdf2_hmac("sha1", secret.encode(), name, 4096, 32).hex()
        lines.append(f"psk={key}")
    return "network={\n" + "".join(f"\t{line}\n" for line in lines) + "}\n"
