"""Dockerfiles built for arm64 by a real engine, started and ended here; as root."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from piimage import events
from piimage.errors import MissingTool, PiimageError
from piimage.oci import binfmt
from piimage.oci.archive import export_folder
from piimage.oci.dockerfile import base_images
from piimage.oci.engine import Build, Engine, connected, find_buildx
from piimage.oci.layers import layer_tree, lower_tree, scan
from piimage.oci.layout import Image, Layout
from piimage.oci.models import Execution, ImageConfig, RootFileSystem
from piimage.oci.pack import pack_layer
from piimage.run import Runner, clean_environment
from piimage.trees import file, folder, symlink
from tests.system.oci import engines

DOCKERFILE = """FROM example/base:1
RUN uname -m >/arch && rm /etc/old
COPY hello /hello
ENV GREETING=hi
CMD ["/bin/cat", "/arch"]
"""


@dataclass(frozen=True)
class Parts:
    """A running engine's address, buildx, and a busybox for arm64."""

    host: str
    buildx: Path
    busybox: bytes


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    folder = tmp_path_factory.mktemp("engine")
    buildx = engines.buildx(folder / "buildx")
    root = engines.fetch(folder / "busybox", "busybox-static", "arm64")
    with engines.running_engine(folder) as host:
        yield Parts(host, buildx, (root / "usr/bin/busybox").read_bytes())


@pytest.fixture
def notes() -> list[events.Event]:
    return []


@pytest.fixture
def engine(parts: Parts, layout: Layout, notes: list[events.Event]) -> Engine:
    return Engine(layout, Runner(), parts.buildx, parts.host, emit=notes.append)


@pytest.fixture
def base(parts: Parts, layout: Layout) -> Image:
    links = [symlink(f"bin/{name}", "busybox") for name in ("sh", "cat", "uname", "rm", "false")]
    tree = [folder("bin"), file("bin/busybox", parts.busybox, 0o755), *links]
    packed = pack_layer(layout.store, [*tree, folder("etc"), file("etc/old", b"")])
    config = ImageConfig(
        os="linux",
        architecture="arm64",
        variant="v8",
        config=Execution(env=("PATH=/bin",)),
        rootfs=RootFileSystem(diff_ids=(packed.diff_id,)),
    )
    return layout.write_image(config, [packed.descriptor])


def build_of(tmp_path: Path, base: Image, dockerfile: str = DOCKERFILE) -> Build:
    context = tmp_path / "context"
    context.mkdir(exist_ok=True)
    (context / "Dockerfile").write_text(dockerfile)
    (context / "hello").write_text("hello\n")
    return Build(context, dict.fromkeys(base_images(dockerfile, {}, "x"), base))


def contents(layout: Layout, image: Image) -> dict[str, bytes]:
    runner, scans = Runner(), []
    found: dict[str, bytes] = {}
    for layer, diff_id in image.layers:
        path = layout.store.path(layer.blob)
        scans.append(scan(runner, path, diff_id, "test"))
        for entry in layer_tree(runner, path, scans[-1], lower_tree(scans[:-1]), "test"):
            found[entry.path] = b"".join(entry.content())
            if entry.device == (0, 0) and entry.kind.name == "CHARACTER":
                found.pop(entry.path)
    return found


def test_a_dockerfile_is_built_for_arm64(
    engine: Engine, base: Image, tmp_path: Path, layout: Layout
) -> None:
    image = engine.build(build_of(tmp_path, base))
    assert image.config.platform.architecture == "arm64"
    found = contents(layout, image)
    assert found["arch"] == b"aarch64\n"
    assert found["hello"] == b"hello\n"
    assert "etc/old" not in found
    assert image.manifest.layers[0] == base.manifest.layers[0]
    assert image.config.execution.cmd == ("/bin/cat", "/arch")
    assert "GREETING=hi" in (image.config.execution.env or ())


def test_two_builds_are_the_same_bytes(
    engine: Engine, base: Image, tmp_path: Path, layout: Layout
) -> None:
    first = engine.build(build_of(tmp_path, base))
    with connected(engine.host) as client:
        client.api.prune_builds(all=True)
    time.sleep(1.1)
    assert engine.build(build_of(tmp_path, base)).descriptor == first.descriptor


def test_the_image_runs_under_the_engine(
    engine: Engine, base: Image, tmp_path: Path, layout: Layout
) -> None:
    image = engine.build(build_of(tmp_path, base))
    export_folder(layout, {"app": image.descriptor}, tmp_path / "app")
    archive = tmp_path / "app.tar"
    subprocess.run(
        ["skopeo", "copy", "-q", f"oci:{tmp_path}/app:app", f"docker-archive:{archive}:app:1"],
        check=True,
    )
    with connected(engine.host) as client:
        with archive.open("rb") as stream:
            client.images.load(stream)
        output = client.containers.run("app:1", platform="linux/arm64", remove=True)
    assert output == b"aarch64\n"


@pytest.mark.provokes("oci.build-failed")
def test_a_step_that_fails_shows_its_last_lines(
    engine: Engine, base: Image, tmp_path: Path
) -> None:
    failing = "FROM example/base:1\nRUN echo about to fail; cat /not-there\n"
    with pytest.raises(PiimageError) as caught:
        engine.build(build_of(tmp_path, base, failing))
    assert "can't open '/not-there'" in caught.value.message
    assert "about to fail" in caught.value.message
    assert str(caught.value.place).endswith("Dockerfile")


@pytest.mark.provokes("oci.no-engine")
def test_an_engine_that_is_not_there_is_said_not_to_answer(
    engine: Engine, base: Image, tmp_path: Path
) -> None:
    absent = replace(engine, host=f"unix://{tmp_path}/absent.sock")
    with pytest.raises(PiimageError, match="no Docker engine answers") as caught:
        absent.build(build_of(tmp_path, base))
    assert "service.yml" in str(caught.value)
    with pytest.raises(PiimageError, match="no Docker engine answers"), connected(absent.host):
        pass


@pytest.mark.provokes("oci.no-buildx")
def test_a_host_without_buildx_is_told_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(MissingTool, match="docker-buildx"):
        find_buildx([tmp_path])


def test_the_hosts_emulator_is_registered_and_named(
    engine: Engine, notes: list[events.Event]
) -> None:
    if (entry := binfmt.TABLE / "qemu-aarch64").exists():
        entry.write_text("-1")
    assert engine.register_emulation() == "this host's qemu-user-static"
    assert any("this host's qemu-user-static" in str(note) for note in notes)
    assert "enabled" in (binfmt.TABLE / "qemu-aarch64").read_text()
    binfmt.register("qemu-aarch64", engine.runner)  # a second time changes nothing


@pytest.mark.provokes("oci.no-emulation")
def test_without_any_emulator_the_message_says_what_to_install(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binfmt, "FOLDERS", ())
    bare = Runner(environment={**clean_environment(), "PATH": str(tmp_path)})
    with pytest.raises(PiimageError, match="apt-get install binfmt-support qemu-user-static"):
        replace(engine, runner=bare).register_emulation()
