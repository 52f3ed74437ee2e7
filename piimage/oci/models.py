"""The documents of an OCI image: descriptors, manifests, indexes and image configurations.

Sources: OCI image-spec 1.1 (descriptor.md, manifest.md, image-index.md, config.md). Documents of a
registry are untrusted: their size and nesting are limited, and an invalid one raises PiimageError
``oci.document``. Unknown fields are ignored, as the specification requires.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from piimage.errors import PiimageError
from piimage.store import Blob

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX: Final = "application/vnd.oci.image.index.v1+json"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
LAYER_TAR: Final = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP: Final = f"{LAYER_TAR}+gzip"
LAYER_ZSTD: Final = f"{LAYER_TAR}+zstd"
EMPTY: Final = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"

MANIFESTS: Final = frozenset({MANIFEST, DOCKER_MANIFEST})
INDEXES: Final = frozenset({INDEX, DOCKER_INDEX})
CONFIGS: Final = frozenset({CONFIG, DOCKER_CONFIG})

REF_NAME: Final = "org.opencontainers.image.ref.name"

MAX_DOCUMENT: Final = 4 << 20
"""Bytes of a manifest, index or configuration; registries refuse larger ones as well."""
_MAX_DEPTH: Final = 40
_MAX_LAYERS: Final = 500
_MAX_MANIFESTS: Final = 1000
_MAX_SIZE: Final = 1 << 40

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
_Text = Annotated[str, Field(max_length=65536)]
_Texts = Annotated[dict[_Text, _Text], Field(max_length=1000)]
_Words = Annotated[tuple[_Text, ...], Field(max_length=10000)]


class _Document(BaseModel):
    # Not strict, so that JSON arrays become tuples; no other field type allows a conversion.
    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True
    )


class Platform(_Document):
    """The platform for the programs of a manifest."""

    os: _Text
    architecture: _Text
    variant: _Text | None = None

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


ARM64: Final = Platform(os="linux", architecture="arm64", variant="v8")
"""The platform of every supported Raspberry Pi."""


class Descriptor(_Document):
    """Names a blob by media type, digest and size."""

    media_type: Annotated[str, Field(pattern=r"^[\w.+-]+/[\w.+-]+$", max_length=255)]
    digest: Digest
    size: Annotated[int, Field(ge=0, le=_MAX_SIZE, strict=True)]
    platform: Platform | None = None
    annotations: _Texts | None = None
    artifact_type: _Text | None = None

    @property
    def blob(self) -> Blob:
        """The blob in the store."""
        return Blob(self.digest.removeprefix("sha256:"), self.size)

    @staticmethod
    def of(media_type: str, blob: Blob) -> Descriptor:
        """Describe `blob`."""
        return Descriptor(media_type=media_type, digest=blob.digest, size=blob.size)


class Manifest(_Document):
    """One image for one platform (or another artifact): a configuration and layers."""

    schema_version: Annotated[int, Field(ge=2, le=2, strict=True)] = 2
    media_type: str = MANIFEST
    artifact_type: _Text | None = None
    config: Descriptor
    layers: Annotated[tuple[Descriptor, ...], Field(max_length=_MAX_LAYERS)]
    subject: Descriptor | None = None
    annotations: _Texts | None = None


class Index(_Document):
    """Manifests of one image for several platforms, or the contents of a layout."""

    schema_version: Annotated[int, Field(ge=2, le=2, strict=True)] = 2
    media_type: str = INDEX
    artifact_type: _Text | None = None
    manifests: Annotated[tuple[Descriptor, ...], Field(max_length=_MAX_MANIFESTS)]
    subject: Descriptor | None = None
    annotations: _Texts | None = None


class Execution(_Document):
    """The defaults for starting an image's program; `config` of an image configuration."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=lambda name: "".join(word.capitalize() for word in name.split("_")),
        populate_by_name=True,
    )

    user: _Text | None = None
    env: _Words | None = None
    entrypoint: _Words | None = None
    cmd: _Words | None = None
    working_dir: _Text | None = None
    labels: _Texts | None = None
    stop_signal: _Text | None = None


class RootFileSystem(_Document):
    """The digests of the unpacked layers, lowest first."""

    type: Annotated[str, Field(pattern=r"^layers$")] = "layers"
    diff_ids: Annotated[tuple[Digest, ...], Field(alias="diff_ids", max_length=_MAX_LAYERS)] = ()


class ImageConfig(_Document):
    """The configuration of an image."""

    os: _Text
    architecture: _Text
    variant: _Text | None = None
    created: _Text | None = None
    config: Execution | None = None
    rootfs: RootFileSystem

    @property
    def platform(self) -> Platform:
        """The image's platform."""
        return Platform(os=self.os, architecture=self.architecture, variant=self.variant)

    @property
    def execution(self) -> Execution:
        """The defaults for its start; empty if the image has none."""
        return self.config or Execution()


DocumentT = TypeVar("DocumentT", bound=_Document)


def encode(document: _Document) -> bytes:
    """Return `document` in this project's canonical JSON form."""
    fields = document.model_dump(by_alias=True, exclude_none=True, mode="json")
    return canonical_json(fields)


def canonical_json(value: object) -> bytes:
    """Return `value` as JSON with sorted keys, no spaces, and text as UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def decode(kind: type[DocumentT], data: bytes, place: str) -> DocumentT:
    """Read a document; `place` is its place in errors. Raises PiimageError ``oci.document``."""
    fields = decode_json(data, place)
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise damaged(f"{where}: {first['msg']}", place) from error


def decode_json(data: bytes, place: str) -> Mapping[str, Any]:
    """Read a JSON object, refusing one that is too large or too deep."""
    if len(data) > MAX_DOCUMENT:
        raise damaged(f"it is too large ({len(data)} bytes)", place)
    try:
        fields = json.loads(data, parse_constant=_no_constant)
        # A lone surrogate is valid JSON, but cannot be encoded as text.
        json.dumps(fields, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise damaged(f"not JSON ({error})", place) from error
    if not isinstance(fields, dict):
        raise damaged("not a JSON object", place)
    if _deeper(fields, _MAX_DEPTH):
        raise damaged("it is nested too deeply", place)
    return fields


def _deeper(value: object, allowed: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return allowed == 0 or any(_deeper(item, allowed - 1) for item in inner)


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


def damaged(reason: str, place: str) -> PiimageError:
    """Return the error for an invalid document."""
    return PiimageError(
        "oci.document",
        f"damaged image document: {reason}",
        place=place,
        hint="build or push the image again, or pin another digest: the image itself is damaged",
    )
