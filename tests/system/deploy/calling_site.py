"""The greenhouse as a Pi that calls an update server on this computer, and bundles for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from piimage.build import plan
from piimage.deploy.bundle import make_bundle, source_of
from piimage.locking.fetching import make
from piimage.plan.slot import signer_of
from tests.system.deploy.system_site import Site
from tests.unit.signing_keys import pair

HOST = "10.0.2.2"
"""The computer that emulates, as the machine sees it (QEMU's user network)."""


def calling(port: int) -> Callable[[str, Path], str]:
    """Return what makes the greenhouse's file one that calls a server on this computer.

    The server knows the Pi by its host name.
    """

    def change(text: str, folder: Path) -> str:
        pair(folder, "ours")
        return (
            f"{text}signing: {{ key: ours.key, certificates: [ours.pem] }}\n"
            f"updates: {{ server: 'http://{HOST}:{port}' }}\n"
        )

    return change


def bundle_of(site: Site, extra: str, line: str) -> Path:
    """Write the bundle of the greenhouse with `extra` in its file and another line of hello."""
    site.wish(extra, line)
    project, inputs = site.greenhouse.project(), site.greenhouse.sources
    version = plan(project, inputs)
    job = make(version.steps(), project.lock, inputs)
    signer = signer_of(project.appliance)
    assert signer is not None
    target = site.greenhouse.folder / f"{line}.swu"
    make_bundle(source_of(version, job, signer, inputs), inputs.runner).write(target, 0o644)
    return target
