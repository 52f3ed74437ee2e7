"""Turns skopeo's output after a failed transfer into an error with the cause and a hint.

The texts come from its libraries (containers/image, Go's net and crypto/x509) and are matched by
their stable parts; an unknown text is shown unchanged.
"""

from __future__ import annotations

import re
from typing import Final

from piimage.errors import PiimageError
from piimage.oci.reference import Reference

_TAIL: Final = 3


def explain(output: str, reference: Reference) -> PiimageError:
    """Return the error for skopeo's output about `reference`."""
    for pattern, error in _CAUSES:
        if re.search(pattern, output, re.IGNORECASE):
            return error(reference, output)
    return _unknown(reference, output)


def _registry(reference: Reference) -> str:
    return reference.registry or "the default registry"


def _login(reference: Reference) -> str:
    return f"`skopeo login {reference.registry}`" if reference.registry else "`skopeo login`"


def _altered(reference: Reference, output: str) -> PiimageError:
    return PiimageError(
        "oci.digest-mismatch",
        f"{_registry(reference)} sent a blob that does not match its digest: {_last(output)}",
        place=str(reference),
        hint="push the image again: the registry or a proxy altered it",
    )


def _plain_http(reference: Reference, _output: str) -> PiimageError:
    return PiimageError(
        "oci.plain-http",
        f"{_registry(reference)} speaks plain HTTP",
        place=str(reference),
        hint=f"to allow plain HTTP: --insecure-registry {reference.registry}",
    )


def _not_trusted(reference: Reference, output: str) -> PiimageError:
    return PiimageError(
        "oci.tls",
        f"the certificate of {_registry(reference)} is not trusted: {_last(output)}",
        place=str(reference),
        hint="install its CA on this host, or name the folder of the CA with --registry-certs; for "
        f"a registry of your own: --insecure-registry {reference.registry}",
    )


def _rate_limit(reference: Reference, _output: str) -> PiimageError:
    return PiimageError(
        "oci.rate-limit",
        f"{_registry(reference)} temporarily refuses downloads: its rate limit is reached",
        place=str(reference),
        hint=f"log in with {_login(reference)}, or retry later",
    )


def _refused(reference: Reference, _output: str) -> PiimageError:
    return PiimageError(
        "oci.refused",
        f"{_registry(reference)} denied access to {reference.repository}",
        place=str(reference),
        hint=f"log in with {_login(reference)}, and check the name: some registries deny access to "
        "an image that does not exist",
    )


def _no_image(reference: Reference, _output: str) -> PiimageError:
    return PiimageError(
        "oci.no-image",
        f"{_registry(reference)} has no image {reference.transport}",
        place=str(reference),
        hint=f"check the name; `skopeo list-tags docker://{reference.name}` lists its tags",
    )


def _unreachable(reference: Reference, output: str) -> PiimageError:
    return PiimageError(
        "oci.unreachable",
        f"{_registry(reference)} cannot be reached: {_last(output)}",
        place=str(reference),
        hint="check the network and the registry's name, or use --offline to build from the store",
    )


def _unknown(reference: Reference, output: str) -> PiimageError:
    return PiimageError(
        "oci.registry",
        f"{_registry(reference)} failed: {_last(output)}",
        place=str(reference),
        hint=f"try the same with `skopeo inspect docker://{reference.transport}`",
    )


# The first match wins: a digest mismatch may quote a path, and a denial may name a certificate.
_CAUSES: Final = (
    (r"digest did not match|does not match (provided |expected )?digest|digest mismatch", _altered),
    (r"server gave HTTP response to HTTPS client", _plain_http),
    (r"x509:|\btls: ", _not_trusted),
    (r"toomanyrequests|too many requests", _rate_limit),
    (r"unauthorized|authentication required|denied|forbidden|invalid username", _refused),
    (r"manifest unknown|name unknown|name not known|status( code)?:? 404|not found", _no_image),
    (
        r"no such host|name resolution|connection refused|network is unreachable|no route to host"
        r"|i/o timeout|deadline exceeded|connection reset|server misbehaving|: EOF",
        _unreachable,
    ),
)


def _last(output: str) -> str:
    """Return the cause in skopeo's last lines, without its log format."""
    lines = [line.strip() for line in output.strip().splitlines() if line.strip()]
    text = " ".join(lines[-_TAIL:])
    quoted = re.search(r'msg="((?:[^"\\]|\\.)*)"', text)
    return (quoted[1] if quoted else text).replace('\\"', '"') or "skopeo printed nothing"
