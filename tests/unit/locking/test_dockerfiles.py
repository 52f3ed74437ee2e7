from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from piimage import events
from piimage.config.models import Appliance
from piimage.errors import PiimageError
from piimage.lock import Lock
from piimage.locking.appliance import image_references
from piimage.locking.dockerfiles import Dockerfiles, base_images, content_key, folders_of
from piimage.locking.images import Images
from piimage.oci.engine import Build
from piimage.oci.layout import Image, Layout
from piimage.oci.models import Execution, ImageConfig, RootFileSystem
from piimage.oci.pack import pack_layer
from piimage.oci.registry import Registry
from piimage.plan.containers import plan_containers
from piimage.run import Runner
from piimage.store import Store
from piimage.trees import file


class Engine:
    """A fake engine: builds one layer of what the Dockerfile says, and counts."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.built: list[Build] = []

    def build(self, build: Build) -> Image:
        self.built.append(build)
        return image(self.layout, (build.folder / "Dockerfile").read_bytes())


def image(layout: Layout, data: bytes = b"base") -> Image:
    packed = pack_layer(layout.store, [file("x", data)])
    config = ImageConfig(
        os="linux", architecture="arm64", config=Execution(cmd=("/x",)),
        rootfs=RootFileSystem(diff_ids=(packed.diff_id,)),
    )  # fmt: skip
    return layout.write_image(config, [packed.descriptor])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "web"
    made.mkdir()
    (made / "Dockerfile").write_text("FROM r/base:1\nCOPY page /page\n")
    (made / "page").write_text("hello")
    return made


@pytest.fixture
def engine(store: Store) -> Engine:
    return Engine(Layout(store))


def appliance(folder: Path) -> Appliance:
    return Appliance.model_validate({"services": [{"name": "web", "build": str(folder)}]})


def dockerfiles(store: Store, engine: Any, *, offline: bool = False) -> Dockerfiles:
    return Dockerfiles(store, lambda: engine, events.ignore, offline)


def test_a_folder_is_built_by_an_engine_only_without_a_service_file(folder: Path) -> None:
    assert folders_of(appliance(folder)) == (folder,)
    (folder / "service.yml").write_text("name: web\nentrypoint: [/x]\n")
    assert folders_of(appliance(folder)) == ()


@pytest.mark.parametrize("name", ["bmp280", "envirophat", "hello_world"])
def test_services_that_are_shipped_can_be_built_by_an_engine_too(name: str) -> None:
    (base,) = base_images(Path(__file__).parents[3] / "services" / name)
    assert base in ("debian:trixie-slim", "busybox:stable")


def test_base_images_are_pinned(folder: Path) -> None:
    assert base_images(folder) == ("r/base:1",)
    assert image_references(appliance(folder)) == ("r/base:1",)


def test_the_image_is_built_once_for_one_content(
    folder: Path, store: Store, engine: Engine
) -> None:
    base = {"r/base:1": image(Layout(store))}
    (first,) = dockerfiles(store, engine).build([folder], base).values()
    assert engine.built[0].bases == base
    (again,) = dockerfiles(store, engine, offline=True).build([folder], base).values()
    assert (again.descriptor.digest, len(engine.built)) == (first.descriptor.digest, 1)
    (folder / "page").write_text("changed")
    dockerfiles(store, engine).build([folder], base)
    assert len(engine.built) == 2


def test_another_base_is_another_build(folder: Path, store: Store) -> None:
    layout = Layout(store)
    base, other = image(layout), image(layout, b"other")
    assert content_key(folder, {"b": base}) != content_key(folder, {"b": other})
    assert content_key(folder, {"b": base}) == content_key(folder, {"b": base})


def test_what_is_executable_and_what_is_linked_counts(folder: Path) -> None:
    keys = {content_key(folder, {})}
    (folder / "page").chmod(0o755)
    keys.add(content_key(folder, {}))
    (folder / "link").symlink_to("page")
    keys.add(content_key(folder, {}))
    (folder / ".git").mkdir()
    (folder / ".git" / "index").write_text("not part of it")
    keys.add(content_key(folder, {}))
    assert len(keys) == 3


def test_a_blob_that_went_is_built_again(folder: Path, store: Store, engine: Engine) -> None:
    base = {"r/base:1": image(Layout(store))}
    (first,) = dockerfiles(store, engine).build([folder], base).values()
    store.path(first.layers[0][0].blob).unlink()
    dockerfiles(store, engine).build([folder], base)
    assert len(engine.built) == 2


@pytest.mark.provokes("images.not-built")
def test_nothing_is_built_offline(folder: Path, store: Store, engine: Engine) -> None:
    with pytest.raises(PiimageError, match="--offline does not allow") as caught:
        dockerfiles(store, engine, offline=True).build([folder], {"r/base:1": image(Layout(store))})
    assert caught.value.place == str(folder)
    assert not engine.built


def test_the_container_is_planned_from_the_built_image(
    folder: Path, store: Store, engine: Engine
) -> None:
    base = {"r/base:1": image(Layout(store))}
    built = dockerfiles(store, engine).build([folder], base)
    layer = plan_containers(appliance(folder), Lock(), {**base, **built})
    (container,) = layer.containers
    assert container.execution.cmd == ("/x",)
    assert len(container.layers) == 1


@pytest.mark.provokes("images.not-locked")
def test_a_base_image_is_not_resolved_offline(folder: Path, store: Store) -> None:
    images = Images(Registry(Layout(store), Runner()), offline=True)
    with pytest.raises(PiimageError, match="the lock does not pin it"):
        images.lock(image_references(appliance(folder)), Lock(), ())
