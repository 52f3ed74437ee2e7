"""Which update server a Pi calls."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from piimage.config.values import Part, form

_WORD = r"[A-Za-z0-9_.:-]{1,128}"


class Updates(Part):
    """The update server that the Pi calls by itself (hawkBit's DDI)."""

    server: Annotated[
        str,
        *form(
            r"https?://[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?",
            "address of a server",
            "an address such as https://updates.example.org",
        ),
    ] = Field(description="Address of the server. With https, `ca` names whose word counts.")
    tenant: Annotated[str, *form(_WORD, "tenant", "letters, digits, '_', '.', ':' and '-'")] = (
        Field(default="DEFAULT", description="The tenant on the server.")
    )
    controller: (
        Annotated[str, *form(_WORD, "controller ID", "letters, digits, '_', '.', ':' and '-'")]
        | None
    ) = Field(
        default=None,
        description="How the server knows the Pi; its serial number if left out, as in a file for "
        "several Pis.",
    )
    ca: str | None = Field(
        default=None,
        description="File (PEM) of the certificate that signs the server's, or the server's own.",
    )
