"""Who signs versions of the system, and whom the Pi trusts."""

from typing import Annotated

from pydantic import Field

from piimage.config.values import Part, Strings


class Signing(Part):
    """The key that signs a version of the system, and the certificates that the Pi trusts."""

    key: str = Field(
        description="File of the private RSA key (PEM), or a pkcs11: URI of a key in a token."
    )
    certificates: Annotated[Strings, Field(min_length=1, max_length=2)] = Field(
        description="Certificate files (PEM) of the keys that the Pi trusts. The first one belongs "
        "to `key`; a second one is for the time in which a key is replaced."
    )
