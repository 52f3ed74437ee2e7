"""A container has one image, whatever its entry sets and wherever it is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from piimage import events
from piimage.config.models import Appliance
from piimage.formats.images import image
from piimage.formats.layers import ImageLayer
from piimage.lock import Lock
from piimage.locking.inputs import Inputs
from piimage.oci.layout import Image, Layout
from piimage.oci.models import Execution, ImageConfig, RootFileSystem
from piimage.oci.pack import pack_layer
from piimage.pkg.build import ImageRequest, build
from piimage.pkg.locking import Pins, lock_path
from piimage.pkg.source import open_source, platforms
from piimage.plan.containers import plan_containers
from piimage.run import Runner
from piimage.steps import Builder
from piimage.store import Store
from piimage.trees import file

SERVICE = """name: meter
license: MIT
files: [{path: usr/bin/meter, contents: "#!/bin/sh", mode: "0755"}]
entrypoint: [/usr/bin/meter]
env: [LEVEL=low]
user: "990"
config: {capabilities: [CAP_SYS_NICE], cwd: /tmp}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "meter"
    made.mkdir()
    (made / "service.yml").write_text(SERVICE)
    return made


def made(
    store: Store, entry: Mapping[str, object], images: Mapping[str, Image] | None = None
) -> Image:
    """The image of a service with this entry, as deploys and `build --format oci` make it."""
    appliance = Appliance.model_validate({"services": [{"name": "own", **entry}]})
    (plan,) = plan_containers(appliance, Lock(), images or {}).containers
    steps = [] if plan.original else [ImageLayer(layer) for layer in plan.layers]
    return image(plan, Layout(store), Builder(store, Runner()).build(*steps))


def label(found: Image) -> Any:
    return json.loads((found.config.execution.labels or {})["org.mobyproject.config"])


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"env": ["LEVEL=high", "B=1"], "command": ["/usr/bin/meter", "-v"], "cwd": "/"},
        {"binds": ["/data/x:/x"], "readonly": False, "user": "1", "health": {"tcp": "h:1"}},
    ],
)
def test_the_image_of_a_folder_is_that_of_pkg_build_whatever_the_entry_sets(
    folder: Path, store: Store, settings: dict[str, object]
) -> None:
    source = open_source(folder)
    inputs = Inputs(store, Runner(), events.ignore, lambda: 0.0)
    pkg = build(ImageRequest(source, platforms(()), Pins(lock_path(source))), inputs)
    assert made(store, {"build": str(folder), **settings}).descriptor == pkg.images[0].descriptor


def test_the_label_of_a_folders_image_has_the_folders_settings(folder: Path, store: Store) -> None:
    found = made(store, {"build": str(folder), "binds": ["/data/x:/x"]})
    assert label(found)["capabilities"] == ["CAP_SYS_NICE"]
    assert label(found)["user"] == "990"
    assert "binds" not in label(found)
    execution = found.config.execution
    assert execution.env == ("LEVEL=low",)
    assert (execution.entrypoint, execution.working_dir) == (("/usr/bin/meter",), "/tmp")


def of_registry(store: Store, text: bytes = b"x", **labels: str) -> Image:
    packed = pack_layer(store, [file("x", text)])
    config = ImageConfig(
        os="linux",
        architecture="arm64",
        config=Execution(cmd=("/x",), labels=labels or None),
        rootfs=RootFileSystem(diff_ids=(packed.diff_id,)),
    )
    return Layout(store).write_image(config, [packed.descriptor])


def test_an_image_of_a_registry_stays_as_it_is(store: Store) -> None:
    original = of_registry(store, maker="somebody")
    entry = {"image": "r/web:1", "env": ["A=1"], "command": ["/y"]}
    assert made(store, entry, {"r/web:1": original}).descriptor == original.descriptor


def test_the_image_of_a_dockerfile_gets_the_labels_of_pkg_build(
    tmp_path: Path, store: Store
) -> None:
    folder = tmp_path / "Web"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM r/base:1\n")
    base = of_registry(store, b"base")
    built = of_registry(store, b"built", own="1")
    images = {"r/base:1": base, str(folder): built}
    found = made(store, {"build": str(folder), "env": ["A=1"]}, images)
    assert found.config.execution.labels == {
        "own": "1",
        "org.opencontainers.image.title": "web",
        "org.opencontainers.image.base.name": "r/base:1",
        "org.opencontainers.image.base.digest": base.descriptor.digest,
    }
    assert found.config.execution.cmd == ("/x",)
    assert found.config.execution.env is None
    assert found.layers == built.layers


@pytest.mark.parametrize(
    ("key", "chosen", "in_label"),
    [
        ("seccomp", "own.json", "default"), ("seccomp", "unconfined", "unconfined"),
        ("seccomp", "default", "default"), ("apparmor", "own.json", "default"),
        ("apparmor", "unconfined", "unconfined"),
    ],
)  # fmt: skip
def test_a_label_names_no_file_of_this_machine(
    folder: Path, store: Store, key: str, chosen: str, in_label: str
) -> None:
    (folder / "own.json").write_text("profile own {\n}\n" if key == "apparmor" else "{}")
    text = SERVICE.replace("cwd: /tmp", f"{key}: {chosen}")
    (folder / "service.yml").write_text(text)
    assert label(made(store, {"build": str(folder)}))[key] == in_label
