"""Delivery of a built image: to a file, into the local engine, to a registry."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from piimage.durable import beside
from piimage.errors import InputError
from piimage.events import Warning
from piimage.locking.inputs import Inputs
from piimage.oci.archive import export_archive, export_folder
from piimage.oci.models import canonical_json
from piimage.oci.reference import Reference
from piimage.oci.registry import Registry
from piimage.pkg.image import Built, bill_of

FORMS: Final = ("oci", "docker", "sif")


def write_file(built: Built, target: Path, form: str, inputs: Inputs) -> None:
    """Write an OCI archive of all platforms and bills, or the arm64 image in another form.

    Raises InputError ``pkg.form``, ``pkg.target``.
    """
    if form not in FORMS:
        raise InputError(
            "pkg.form", f"unknown archive format {form!r}", place="--format",
            hint=f"use one of {', '.join(FORMS)}",
        )  # fmt: skip
    if not target.parent.is_dir():
        raise InputError(
            "pkg.target",
            "the folder of this file does not exist",
            place=str(target),
            hint="make the folder",
        )
    if form == "oci":
        export_archive(inputs.layout, {str(built.reference): built.descriptor}, target)
        return
    if form == "sif":
        _write_sif(built, target, inputs)
        return
    with beside(target) as draft, _docker_archive(built, inputs) as archive:
        shutil.copyfile(archive, draft)


def _write_sif(built: Built, target: Path, inputs: Inputs) -> None:
    from piimage.formats.apptainer import has_shell, write_sif  # noqa: PLC0415  # rarely needed
    from piimage.formats.flat import scans  # noqa: PLC0415
    from piimage.steps import Builder  # noqa: PLC0415

    image, layout = built.images[0], inputs.layout
    job = Builder(inputs.store, inputs.runner, inputs.emit).build(*scans(image))
    if not has_shell(image, job):
        text = "the image has no /bin/sh: `apptainer exec` starts its programs, but not `run`"
        inputs.emit(Warning(text))
    name = built.reference.repository.rpartition("/")[2]
    write_sif(image, name, bill_of(image, layout), layout, job, target)


def load(built: Built, inputs: Inputs) -> str:
    """Load the arm64 image into the engine under its name; return its id in the engine.

    Raises PiimageError ``oci.no-engine``.
    """
    from piimage.oci.engine import connected  # noqa: PLC0415  # the SDK is slow to import

    with connected(inputs.docker_host) as client, _docker_archive(built, inputs) as archive:
        with archive.open("rb") as stream:
            client.images.load(stream)
        return str(client.images.get(str(built.reference)).id)


def push(built: Built, credentials: Path | None, inputs: Inputs) -> Reference:
    """Push the image with all its platforms and bills; return its reference by digest.

    `credentials` is as for `login_file`. Raises what that and `Registry.push` raise.
    """
    with registry_of(built.reference, credentials, inputs) as registry:
        return registry.push(built.reference, built.descriptor)


@contextmanager
def registry_of(
    reference: Reference, credentials: Path | None, inputs: Inputs
) -> Iterator[Registry]:
    """Yield the registry of `reference`, with the login of the file `credentials` if there is one.

    Raises what `login_file` raises.
    """
    with ExitStack() as stack:
        access = inputs.access
        if credentials is not None:
            scratch = stack.enter_context(inputs.store.scratch())
            login = login_file(credentials, reference.registry, scratch)
            access = replace(access, auth_file=stack.enter_context(login))
        yield Registry(inputs.layout, inputs.runner, access)


@contextmanager
def _docker_archive(built: Built, inputs: Inputs) -> Iterator[Path]:
    with inputs.store.scratch() as scratch:
        folder, archive = scratch / "image", scratch / "image.tar"
        export_folder(inputs.layout, {"image": built.images[0].descriptor}, folder)
        target = f"docker-archive:{archive}:{built.reference}"
        inputs.runner.run(["skopeo", "copy", "-q", f"oci:{folder}:image", target])
        yield archive


@contextmanager
def login_file(credentials: Path, registry: str | None, scratch: Path) -> Iterator[Path]:
    """Yield an auth file for `registry` with the ``USER:PASSWORD`` from the file `credentials`.

    A file keeps the password out of command lines. Raises InputError ``pkg.credentials``.
    """
    import base64  # noqa: PLC0415

    try:
        text = credentials.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise _no_credentials(credentials, "the file cannot be read") from error
    user, colon, password = text.partition(":")
    if not (user and colon and password) or "\n" in text:
        raise _no_credentials(credentials, "the file has no line USER:PASSWORD")
    login = base64.b64encode(text.encode()).decode()
    target = scratch / "auth.json"
    target.touch(mode=0o600)
    key = registry or "https://index.docker.io/v1/"
    target.write_bytes(canonical_json({"auths": {key: {"auth": login}}}))
    try:
        yield target
    finally:
        target.unlink()


def _no_credentials(place: Path, message: str) -> InputError:
    return InputError(
        "pkg.credentials", message, place=str(place),
        hint="write one line USER:PASSWORD into the file (mode 0600), or use `skopeo login`",
    )  # fmt: skip
