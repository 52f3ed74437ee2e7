"""A stand-in for a Pi (`slots_stand`) that calls an update server, and bundles for it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import which

from piimage.deploy.bundle import Source, make_bundle
from piimage.deploy.release import Release
from piimage.signing import Signer
from tests.programs.deploy.slots_stand import SlotsStand
from tests.unit.deploy import stand_in
from tests.unit.deploy.stand_in import AGENT
from tests.unit.signing_keys import Pair

ROOT = Path(__file__).parents[3]
POLL = f"""
import sys
sys.path[:0] = [{str(AGENT)!r}, {str(ROOT)!r}]
from piimage_agent import install, main, poll
poll._REPORT_S = 0.0
install._CONFIRM_S = 20.0
sys.exit(main.main(["poll", *sys.argv[1:]]))
"""
ORDER = [1, 1764374400]


@dataclass
class Called:
    """What one call at the server printed for the console, and when the next one is due."""

    lines: list[str]
    sleep: int


@dataclass
class CallingPi:
    """A Pi with an update server."""

    stand: SlotsStand
    keys: Pair
    _next: dict[str, object] | None = None
    """What the other slot says of itself, once a version was written there."""

    def set_up(self, url: str, tenant: str = "t", controller: str = "pi", more: str = "") -> None:
        """Name the server, trust the key, and list the appliance's name in the slot."""
        pi = self.stand.pi
        openssl = which("openssl")
        assert openssl is not None
        (pi.root / "usr/bin").mkdir(exist_ok=True)
        (pi.root / "usr/bin/openssl").symlink_to(openssl)
        pi.write("etc/piimage/signing.pem", self.keys.certificate.read_text())
        self.name_server(url, tenant, controller, more)
        listed = json.loads(pi.text("slot/appliance.json"))
        self.set_manifest({**listed, "name": "greenhouse", "order": ORDER})

    def name_server(
        self, url: str, tenant: str = "t", controller: str = "pi", more: str = ""
    ) -> None:
        """Name the server, as another version of the file would."""
        settings = f"SERVER='{url}'\nTENANT='{tenant}'\nCONTROLLER='{controller}'\n{more}"
        self.stand.pi.write("etc/piimage/updates", settings)

    def set_manifest(self, manifest: dict[str, object]) -> None:
        """Make what the slot says of itself, signed."""
        self.stand.pi.write("slot/appliance.json", json.dumps(manifest))
        path = self.stand.pi.root / "slot/appliance.json"
        signature = self.keys.signer.sign(path.read_bytes(), self.stand.runner)
        path.with_suffix(".json.cms").write_bytes(signature)

    @property
    def manifest(self) -> dict[str, object]:
        found = json.loads(self.stand.pi.text("slot/appliance.json"))
        assert isinstance(found, dict)
        return found

    def call(self) -> Called:
        """Call the server once, as a process of its own."""
        trail = self.stand.pi.root / "data/piimage/system/trail"
        # After "services" the trial reads it no more.
        if self._next and trail.exists() and "services" in trail.read_text().split():
            self.set_manifest(self._next)
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", POLL, "--root", self.stand.pi.root],
            capture_output=True, text=True, check=False, timeout=90,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        *lines, last = done.stdout.splitlines()
        assert last.startswith("sleep ")
        return Called([line.removeprefix("say ") for line in lines], int(last.split()[1]))

    def person(self, *words: str) -> tuple[int, str]:
        """Run the agent as a person at the Pi does; return its exit status and what it printed."""
        verb, *rest = words
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", POLL.replace('"poll", *', "*"), verb, "--root",
             self.stand.pi.root, *rest],
            capture_output=True, text=True, check=False, timeout=90,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def call_until(self, holds: Callable[[], bool]) -> list[Called]:
        """Call until something holds; return the calls."""
        calls: list[Called] = []
        end = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < end, calls
            calls.append(self.call())
        return calls

    def system_bundle(
        self, target: Path, signer: Signer | None = None, order: tuple[int, int] = (1, 1764374401),
        **changes: object,
    ) -> Path:  # fmt: skip
        """Write the bundle of a version with another system."""
        wish = self.stand.wish()
        assert wish.system is not None
        system = wish.system.__class__(**{**wish.system.__dict__, "order": order, "_recipes": {}})
        recipes = {name: system.recipe(name) for name in system.slots.volumes}
        named = {sha: file for recipe in recipes.values() for sha, file in recipe.files.items()}
        manifest = {**self.manifest, "order": list(order), "containers": "ab" * 32}
        manifest = {**manifest, "kernel": "7.3", **changes}
        data = {number: recipe.data for number, recipe in recipes.items()}
        self._next = manifest
        firmware = system.firmware if system.has_folders else None
        return self._written(target, manifest, (), data, named, signer, firmware)

    def containers_bundle(
        self, target: Path, release: Release, signer: Signer | None = None
    ) -> Path:
        """Write the bundle of a version that has the Pi's system and the release's containers."""
        store = self.stand.store
        files = {digest: store.verified(blob) for digest, blob in release.layers.items()}
        manifest = {**self.manifest, "order": [1, 1764374401], "containers": release.containers}
        return self._written(target, manifest, release.needed(), {}, files, signer)

    def _written(
        self, target: Path, manifest: dict[str, object], layers: tuple[str, ...],
        recipes: dict[str, bytes], files: dict[str, Path | bytes] | dict[str, Path],
        signer: Signer | None, firmware: Mapping[str, str] | None = None,
    ) -> Path:  # fmt: skip
        source = Source(
            str(manifest["name"]), "new.yml", json.dumps(manifest).encode(), layers, recipes,
            dict(files), signer or self.keys.signer, firmware,
        )  # fmt: skip
        made = make_bundle(source, self.stand.runner)
        made.write(target, 0o644)
        return target

    def action(self) -> dict[str, str]:
        """What the Pi remembers of the last action."""
        path = self.stand.pi.root / "data/piimage/updates/action"
        found = json.loads(path.read_text()) if path.exists() else {}
        assert isinstance(found, dict)
        return found

    def files(self) -> set[str]:
        """The files of an update that wait under /data."""
        folder = self.stand.pi.root / "data/piimage/system/files"
        return {path.name for path in folder.glob("*")}


def release(pi: CallingPi, **services: str) -> Release:
    """A release of services, as `stand_in.release`."""
    return stand_in.release(pi.stand.store, **services)
