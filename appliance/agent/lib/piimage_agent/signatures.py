"""Signatures of a system: CMS over its recipe and over its appliance.json, checked by openssl.

A Pi whose system has certificates takes nothing that none of their keys has signed. Only the keys
in the certificates count: a Pi may not know the date, so that theirs do not.
"""

from __future__ import annotations

import hashlib
import os

from piimage_agent import services
from piimage_agent.refusal import Refused
from piimage_agent.root import Root, is_file, read_text, remove

_CHECK = (
    "openssl", "cms", "-verify", "-binary", "-inform", "DER", "-nointern", "-noverify", "-out",
    os.devnull,
)  # fmt: skip

_END = "-----END CERTIFICATE-----\n"


def is_required(root: Root) -> bool:
    """Return whether the system has certificates."""
    return is_file(_trusted(root))


def _trusted(root: Root) -> str:
    return root.at("etc/piimage/signing.pem")


def trusted(root: Root) -> list[str]:
    """Return the SHA-256 of each certificate's text, so that a tool need not send in vain."""
    blocks = read_text(_trusted(root)).split(_END)[:-1]
    return [hashlib.sha256(f"{block}{_END}".encode()).hexdigest() for block in blocks]


def require(root: Root, path: str, signature: bytes) -> None:
    """Raise Refused ``unsigned`` unless a trusted key has signed the file at `path`."""
    if not is_required(root):
        return
    if not signature:
        raise Refused(
            "unsigned", "this Pi takes only signed systems, and this one is not signed",
            "write the key into the file (signing:), or write a new card",
        )  # fmt: skip
    beside = f"{root.run}/system-signature"
    try:
        with open(beside, "wb") as file:
            file.write(signature)
        _check(root, path, beside)
    finally:
        remove(beside)


def require_text(root: Root, text: bytes, signature: bytes) -> None:
    """Raise Refused ``unsigned`` unless a trusted key has signed `text`."""
    if not is_required(root):
        raise Refused("unsigned", "this Pi trusts no key, and takes nothing from servers")
    path = f"{root.run}/signed-text"
    try:
        with open(path, "wb") as file:
            file.write(text)
        require(root, path, signature)
    finally:
        remove(path)


def require_own(root: Root) -> None:
    """Raise Refused ``unsigned`` unless a trusted key has signed the running slot's appliance.json.

    A version that does not trust its own key would take no other one.
    """
    if is_required(root):
        path = f"{root.slot()}/appliance.json"
        if not is_file(f"{path}.cms"):
            raise Refused("unsigned", "appliance.json of the new version is not signed")
        _check(root, path, f"{path}.cms")


def _check(root: Root, path: str, signature: str) -> None:
    words = [*_CHECK, "-certfile", _trusted(root), "-in", signature, "-content", path]
    try:
        services.call(words, root.at("usr/bin/openssl"), 120, "unsigned")
    except Refused as refused:
        reason = "the key is not trusted" if "not found" in refused.message else "the bytes differ"
        raise Refused(
            "unsigned", f"the signature of the new version is not valid here: {reason}",
            "sign it with a key that the running version trusts (signing: in the file)",
        ) from None  # fmt: skip
