"""What skopeo says when a transfer fails, as an error that names the cause and the way out.

The texts are those of its libraries (containers/image, Go's net and crypto/x509), matched by their
stable parts; what is not recognised is shown as it is.
"""

from __future__ import annotations

import re
from typing import Final

from piimage.errors import PiimageError
from piimage.oci.reference import Reference

_TAIL: Final = 3


def explain(said: str, reference: Reference) -> PiimageError:
    """Return the error for what skopeo said about `reference` before it failed."""
    for pattern, error in _CAUSES:
        if re.search(pattern, said, re.IGNORECASE):
            return error(reference, said)
    return _unknown(reference, said)


def _registry(reference: Reference) -> str:
    return reference.registry or "the default registry"


def _login(reference: Reference) -> str:
    return f"`skopeo login {reference.registry}`" if reference.registry else "`skopeo login`"


def _altered(reference: Reference, said: str) -> PiimageError:
    return PiimageError(
        "oci.digest-mismatch",
        f"{_registry(reference)} sent a blob that is not what its digest says: {_last(said)}",
        place=str(reference),
        hint="the registry, or something on the way to it, altered the image; push it again",
    )


def _plain_http(reference: Reference, _said: str) -> PiimageError:
    return PiimageError(
        "oci.plain-http",
        f"{_registry(reference)} speaks plain HTTP",
        place=str(reference),
        hint=f"if that is what you want: --insecure-registry {reference.registry}",
    )


def _not_trusted(reference: Reference, said: str) -> PiimageError:
    return PiimageError(
        "oci.tls",
        f"the certificate of {_registry(reference)} is not trusted: {_last(said)}",
        place=str(reference),
        hint="install its CA on this host, or give the folder with it as --registry-certs, or for "
        f"a registry of your own: --insecure-registry {reference.registry}",
    )


def _rate_limit(reference: Reference, _said: str) -> PiimageError:
    return PiimageError(
        "oci.rate-limit",
        f"{_registry(reference)} refuses more downloads for now",
        place=str(reference),
        hint=f"log in with {_login(reference)}, or wait",
    )


def _refused(reference: Reference, _said: str) -> PiimageError:
    return PiimageError(
        "oci.refused",
        f"{_registry(reference)} does not let you at {reference.repository}",
        place=str(reference),
        hint=f"log in with {_login(reference)}, and check the name: some registries say this of "
        "an image that does not exist",
    )


def _no_image(reference: Reference, _said: str) -> PiimageError:
    return PiimageError(
        "oci.no-image",
        f"{_registry(reference)} has no image {reference.transport}",
        place=str(reference),
        hint=f"check the name; `skopeo list-tags docker://{reference.name}` lists its tags",
    )


def _unreachable(reference: Reference, said: str) -> PiimageError:
    return PiimageError(
        "oci.unreachable",
        f"{_registry(reference)} cannot be reached: {_last(said)}",
        place=str(reference),
        hint="check the network and the registry's name, or build with --offline from the store",
    )


def _unknown(reference: Reference, said: str) -> PiimageError:
    return PiimageError(
        "oci.registry",
        f"{_registry(reference)} failed: {_last(said)}",
        place=str(reference),
        hint=f"try the same with `skopeo inspect docker://{reference.transport}`",
    )


# The order counts: a blob's mismatch may quote a path, and a refusal mention a certificate's name.
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


def _last(said: str) -> str:
    """Return the cause in skopeo's last lines, without its log format."""
    lines = [line.strip() for line in said.strip().splitlines() if line.strip()]
    text = " ".join(lines[-_TAIL:])
    quoted = re.search(r'msg="((?:[^"\\]|\\.)*)"', text)
    return (quoted[1] if quoted else text).replace('\\"', '"') or "skopeo said nothing"
