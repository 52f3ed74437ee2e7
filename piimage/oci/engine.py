"""Builds Dockerfiles with buildx for arm64 into the layout, with their base images pinned.

The SDK connects to the engine, loads base images, exports the result and registers the emulator;
buildx builds. The result is rewritten in this project's form, so that equal content gives equal
bytes: one time stamp, no history, and base layers as they were pulled.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import docker
from docker.errors import APIError, DockerException, ImageNotFound

from piimage import events
from piimage.clock import EPOCH
from piimage.distribution import install_hint
from piimage.errors import MissingTool, PiimageError
from piimage.oci import binfmt, models
from piimage.oci.archive import export_folder, import_archive
from piimage.oci.dockerfile import pin_images
from piimage.oci.layout import Image, Layout
from piimage.oci.models import ARM64, ImageConfig, Platform, RootFileSystem
from piimage.oci.pack import PackedLayer, pack_tar
from piimage.run import ENGINE, Runner
from piimage.store import CHUNK
from piimage.trees import read_tar, tar_chunks

PLUGIN_FOLDERS: Final = (
    Path("~/.docker/cli-plugins"),
    Path("/usr/local/libexec/docker/cli-plugins"),
    Path("/usr/local/lib/docker/cli-plugins"),
    Path("/usr/libexec/docker/cli-plugins"),
    Path("/usr/lib/docker/cli-plugins"),
)
_EMULATORS: Final = {"arm64": "qemu-aarch64", "arm": "qemu-arm"}
_SOCKET: Final = "unix:///var/run/docker.sock"
_BASE_NAME: Final = "piimage/base"
_TAIL_LINES: Final = 12
_TIMEOUT: Final = 600
_MAX_MANIFEST: Final = 1 << 20


def find_buildx(folders: Sequence[Path] = PLUGIN_FOLDERS) -> Path:
    """Return the buildx program, which runs with or without the docker command.

    Raises MissingTool ``oci.no-buildx``.
    """
    for folder in folders:
        program = folder.expanduser() / "docker-buildx"
        if program.is_file():
            return program
    raise MissingTool(
        "oci.no-buildx",
        "a Dockerfile needs buildx, which is not installed",
        hint=f"{install_hint(['docker-buildx'])} (Debian 12 has no package: copy the program "
        "docker-buildx of Debian 13's package to ~/.docker/cli-plugins); or write a service.yml, "
        "which needs no engine",
    )


@dataclass(frozen=True)
class Build:
    """One build of a Dockerfile.

    `bases` are the pulled images by reference; `arguments` its build arguments.
    """

    folder: Path
    bases: Mapping[str, Image]
    dockerfile: str = "Dockerfile"
    arguments: Mapping[str, str] = field(default_factory=dict)
    platform: Platform = ARM64

    @property
    def place(self) -> str:
        """The Dockerfile's path."""
        return str(self.folder / self.dockerfile)


@dataclass(frozen=True)
class Engine:
    """A Docker engine with buildx.

    `host` is the engine's address in the form of DOCKER_HOST (None: the standard socket);
    `builder` names a builder of buildx, which may be a group of several machines.
    """

    layout: Layout
    runner: Runner
    buildx: Path
    host: str | None = None
    builder: str | None = None
    emit: events.Listener = events.ignore

    def build(self, build: Build) -> Image:
        """Build and return the image, stored in the layout.

        Raises PiimageError ``oci.no-engine``, ``oci.no-emulation``, ``oci.build-failed`` (with the
        last lines of the step that failed), ``oci.dockerfile``.
        """
        driver, platforms = self._builder()
        if build.platform.architecture not in {platform.split("/")[1] for platform in platforms}:
            self.register_emulation(build.platform)
        with self.layout.store.scratch() as scratch:
            if driver == "docker":
                return self._build_in_engine(build, scratch)
            return self._build_elsewhere(build, scratch)

    # --- emulation

    def _builder(self) -> tuple[str, tuple[str, ...]]:
        """Return the builder's driver and its platforms."""
        words = ["inspect", *([self.builder] if self.builder else [])]
        done = self._runner().run([self.buildx, *words], accept=range(256))
        driver = re.search(r"^Driver:\s*(\S+)", done.text, re.MULTILINE)
        platforms = re.findall(r"^Platforms:\s*(.+)$", done.text, re.MULTILINE)
        if done.status != 0 or driver is None or "Error:" in done.text:
            output = (done.stderr.decode(errors="replace") or done.text).strip().splitlines()
            reason = output[-1] if output else "buildx printed nothing"
            raise no_engine(self.builder or self.host, reason)
        found = {platform.strip(" *") for line in platforms for platform in line.split(",")}
        return driver[1], tuple(sorted(platform for platform in found if "/" in platform))

    def register_emulation(self, platform: Platform = ARM64) -> str:
        """Register an emulator for `platform` in the engine's kernel; return its source.

        The source is the engine's binfmt container if its image is available, or else this host's
        qemu-user-static. Raises PiimageError ``oci.no-emulation``.
        """
        with connected(self.host) as client:
            try:
                client.containers.run(
                    "tonistiigi/binfmt",
                    ["--install", platform.architecture],
                    privileged=True,
                    remove=True,
                )
                how = "the engine's binfmt container"
            except (APIError, ImageNotFound, DockerException) as error:
                how = self._register_on_host(platform, str(error))
        self.emit(events.Note(f"{platform} is emulated by qemu-user, registered by {how}"))
        return how

    def _register_on_host(self, platform: Platform, why_not: str) -> str:
        try:
            binfmt.register(_EMULATORS.get(platform.architecture, ""), self.runner)
        except PiimageError as error:
            raise PiimageError(
                "oci.no-emulation",
                f"the engine cannot run {platform} programs: its binfmt container is not "
                f"available ({_first_line(why_not)}), and this host has no emulator "
                f"({error.message})",
                hint=f"{install_hint(['qemu-user-static', 'binfmt-support'])}, and run this once "
                "as root; or name a builder of that architecture with --builder",
            ) from error
        return "this host's qemu-user-static"

    def _runner(self) -> Runner:
        runner = self.runner.passing(ENGINE)
        return runner.with_environment(DOCKER_HOST=self.host) if self.host else runner

    # --- building

    def _build_in_engine(self, build: Build, scratch: Path) -> Image:
        """Build with the engine's BuildKit, which has access to the engine's images."""
        with connected(self.host) as client:
            names = {text: self._load(client, base, scratch) for text, base in build.bases.items()}
            pinned = self._pinned(build, names, scratch)
            number = scratch / "image-id"
            output = ["--output", "type=docker", "--iidfile", str(number)]
            self._run(build, [*output, "--file", str(pinned)])
            image = client.images.get(number.read_text().strip())
            archive = scratch / "image.tar"
            with archive.open("wb") as out:
                out.writelines(image.save(chunk_size=CHUNK))
        return self._take(archive, tuple(build.bases.values()))

    def _build_elsewhere(self, build: Build, scratch: Path) -> Image:
        """Build with another BuildKit, which reads the base images from an OCI layout."""
        names: dict[str, str] = {}
        contexts: list[str] = []
        for number, (text, base) in enumerate(build.bases.items()):
            folder = scratch / f"base-{number}"
            export_folder(self.layout, {"base": base.descriptor}, folder)
            names[text] = f"piimage-base-{number}"
            layout = f"oci-layout://{folder}@{base.descriptor.digest}"
            contexts += ["--build-context", f"{names[text]}={layout}"]
        pinned = self._pinned(build, names, scratch)
        archive = scratch / "image.tar"
        output = ["--output", f"type=oci,dest={archive},rewrite-timestamp=true"]
        self._run(build, [*output, *contexts, "--file", str(pinned)])
        with archive.open("rb") as stream:
            (top, *_) = import_archive(self.layout, stream, str(archive))
        return self.layout.complete(self.layout.choose(top, build.platform))

    def _pinned(self, build: Build, names: Mapping[str, str], scratch: Path) -> Path:
        text = Path(build.place).read_text()
        pinned = scratch / "Dockerfile"
        pin = names.__getitem__
        pinned.write_text(pin_images(text, build.arguments, pin, build.place))
        return pinned

    def _run(self, build: Build, words: Sequence[str]) -> None:
        command = [str(self.buildx), "build", "--progress", "plain", "--provenance=false"]
        if self.builder:
            command += ["--builder", self.builder]
        command += ["--platform", f"{build.platform.os}/{build.platform.architecture}"]
        for name, value in sorted(build.arguments.items()):
            command += ["--build-arg", f"{name}={value}"]
        command += ["--build-arg", f"SOURCE_DATE_EPOCH={EPOCH}"]
        done = self._runner().run([*command, *words, str(build.folder)], accept=range(256))
        if done.status != 0:
            raise build_failed(done.stderr.decode(errors="replace"), build.place)

    def _load(self, client: docker.DockerClient, base: Image, scratch: Path) -> str:
        """Load a base image into the engine if it is missing; return its name in the engine."""
        name = f"{_BASE_NAME}:{base.descriptor.blob.sha256}"
        try:
            client.images.get(name)
        except ImageNotFound:
            folder, archive = scratch / "base", scratch / "base.tar"
            export_folder(self.layout, {"base": base.descriptor}, folder)
            source, target = f"oci:{folder}:base", f"docker-archive:{archive}:{name}"
            self.runner.run(["skopeo", "copy", "-q", source, target])
            with archive.open("rb") as stream:
                client.images.load(stream)
            archive.unlink()
        return name

    def _take(self, archive: Path, bases: Sequence[Image]) -> Image:
        """Store the image of `archive` (``docker save``) with the pulled base layers."""
        known = {diff_id: layer for base in bases for layer, diff_id in base.layers}
        place = "the engine's image"
        try:
            with tarfile.open(archive) as saved:
                (listed,) = json.loads(_member(saved, "manifest.json"))
                config = models.decode(ImageConfig, _member(saved, listed["Config"]), place)
                pairs = zip(listed["Layers"], config.rootfs.diff_ids, strict=True)
                packed = [
                    PackedLayer(known[diff_id], diff_id)
                    if diff_id in known
                    else self._pack(saved, path, place)
                    for path, diff_id in pairs
                ]
        except (tarfile.TarError, ValueError, KeyError, TypeError) as error:
            raise models.damaged(f"not what `docker save` writes ({error})", place) from error
        root = RootFileSystem(diff_ids=tuple(layer.diff_id for layer in packed))
        ours = config.model_copy(update={"rootfs": root, "created": None})
        return self.layout.write_image(ours, [layer.descriptor for layer in packed])

    def _pack(self, saved: tarfile.TarFile, path: str, place: str) -> PackedLayer:
        stream = saved.extractfile(path)
        if stream is None:
            raise models.damaged(f"{path} is not a file", place)
        return pack_tar(self.layout.store, tar_chunks(read_tar(stream, place)))


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(name)
    return stream.read(_MAX_MANIFEST) if stream else b""


@contextmanager
def connected(host: str | None) -> Iterator[docker.DockerClient]:
    """Yield the SDK's client of the engine at `host` (None: the standard socket).

    Raises PiimageError ``oci.no-engine`` if no engine answers.
    """
    try:
        client = docker.DockerClient(base_url=host or _SOCKET, timeout=_TIMEOUT)
        client.ping()
    except DockerException as error:
        raise no_engine(host, str(error)) from error
    try:
        yield client
    finally:
        client.close()


def no_engine(host: str | None, why: str) -> PiimageError:
    """Return the error for an engine that does not answer."""
    return PiimageError(
        "oci.no-engine",
        f"no Docker engine answers at {host or 'the standard socket'}: {_first_line(why)}",
        hint="start it (systemctl start docker) and join the group docker, or set DOCKER_HOST; or "
        "write a service.yml, which needs no engine",
    )


def build_failed(printed: str, place: str) -> PiimageError:
    """Return the error for a failed build, with the last lines of the failed step."""
    lines = [line for line in printed.splitlines() if line.strip() and line.strip() != "------"]
    step = next((i for i in range(len(lines) - 1, -1, -1) if " ERROR: " in lines[i]), None)
    shown = lines[-_TAIL_LINES:]
    if step is not None:
        number = lines[step].split(" ", 1)[0]
        own = [line for line in lines[: step + 1] if line.split(" ", 1)[0] == number]
        shown = own[-_TAIL_LINES:]
    return PiimageError(
        "oci.build-failed",
        "\n  ".join(["the build failed:", *shown]),
        place=place,
        hint="correct the step and build again; the results of earlier steps are kept",
    )


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "no reason given"
