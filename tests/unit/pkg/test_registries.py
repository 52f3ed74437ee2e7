"""`pkg manifest`, and images in the store; a real registry is in tests/system/pkg."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pytest

from piimage import cache
from piimage.errors import InputError, PiimageError
from piimage.oci.layout import Layout
from piimage.oci.models import ARM64, LAYER_GZIP, Descriptor, Platform
from piimage.oci.reference import Reference, parse
from piimage.oci.registry import Registry, Resolved
from piimage.pkg.manifest import join
from piimage.pkg.mirroring import is_archive, push, remove, save, take
from piimage.pkg.source import AMD64
from piimage.run import Runner
from piimage.store import Blob, Store
from tests.unit.oci.images import image


@dataclass(frozen=True)
class Shelf(Registry):
    """A registry with the images of these platforms and no others."""

    names: frozenset[str] = frozenset()
    fault: str = "oci.no-image"
    pushed: list[Descriptor] = field(default_factory=list)

    def resolve(self, reference: Reference, platform: Platform = ARM64) -> Resolved:
        if str(reference) not in self.names:
            raise PiimageError(self.fault, "not here")
        manifest = Descriptor.of("application/vnd.oci.image.manifest.v1+json", Blob("1" * 64, 7))
        return Resolved(reference, manifest, manifest, (), platform)

    def push_list(self, reference: Reference, entries: Sequence[Descriptor]) -> Reference:
        self.pushed.extend(entries)
        return reference


NAME = parse("r.test:5000/team/thermo:v1")


@pytest.mark.provokes("pkg.no-manifests")
def test_a_name_without_images_is_refused(store: Store, runner: Runner) -> None:
    with pytest.raises(InputError, match=r"v1-arm64 or \S+/thermo:v1-amd64") as caught:
        join(NAME, Shelf(Layout(store), runner))
    assert caught.value.code == "pkg.no-manifests"
    assert "--tag 'v1-arm64'" in str(caught.value)


def test_a_registry_that_refuses_is_not_taken_for_one_without_the_image(
    store: Store, runner: Runner
) -> None:
    with pytest.raises(PiimageError) as caught:
        join(NAME, Shelf(Layout(store), runner, fault="oci.refused"))
    assert caught.value.code == "oci.refused"


def test_only_the_platforms_that_are_there_get_the_name(store: Store, runner: Runner) -> None:
    shelf = Shelf(Layout(store), runner, names=frozenset({f"{NAME}-amd64"}))
    assert join(NAME, shelf) == (NAME, ("linux/amd64",))
    (entry,) = shelf.pushed
    assert entry.platform == AMD64


class Closed(Registry):
    """A registry that must not be asked."""

    def push(self, reference: Reference, descriptor: Descriptor) -> NoReturn:
        raise AssertionError(f"{reference} was pushed")


@pytest.mark.provokes("cache.no-image")
def test_an_image_that_the_store_lacks_is_not_pushed(store: Store, runner: Runner) -> None:
    layout = Layout(store)
    with pytest.raises(InputError, match="cache pull") as caught:
        push("piimage/thermo:v1", None, Closed(layout, runner))
    assert caught.value.code == "cache.no-image"
    made = image(layout)
    layout.set_name("piimage/thermo:v1", made.descriptor)
    with pytest.raises(InputError, match=r"did you mean piimage/thermo:v1\?"):
        push("piimage/thermo:v2", None, Closed(layout, runner))


@pytest.mark.provokes("cache.no-image")
def test_an_image_whose_layers_were_cleaned_away_is_not_pushed(
    store: Store, runner: Runner
) -> None:
    layout = Layout(store)
    lost = Descriptor.of(LAYER_GZIP, Blob("2" * 64, 9))
    made = image(layout)
    manifest = made.manifest.model_copy(update={"layers": (lost,)})
    layout.set_name("piimage/thermo:v1", layout.write_manifest(manifest))
    with pytest.raises(InputError, match="no image piimage/thermo:v1"):
        push("piimage/thermo:v1", None, Closed(layout, runner))


def test_an_image_goes_by_a_file_with_what_is_attached(store: Store, tmp_path: Path) -> None:
    layout, name = Layout(store), "piimage/thermo:v1"
    made = image(layout)
    layout.set_name(name, made.descriptor)
    bill = Descriptor.of("application/spdx+json", store.add_bytes(b"{}"))
    layout.attach(made.descriptor, "application/spdx+json", [bill])
    save(name, tmp_path / "a.tar", layout)
    other = Layout(Store(tmp_path / "other"))
    assert is_archive(tmp_path / "a.tar")
    assert take(tmp_path / "a.tar", other) == (name,)
    assert other.names()[name].digest == made.descriptor.digest
    assert [entry.artifact_type for entry in other.referrers(made.descriptor)] == [bill.media_type]


def test_an_exported_store_is_no_archive_of_images(store: Store, tmp_path: Path) -> None:
    store.add_bytes(b"made")
    cache.export(store, tmp_path / "store.tar")
    assert not is_archive(tmp_path / "store.tar")
    assert not is_archive(tmp_path / "absent.tar")


@pytest.mark.provokes("cache.no-image")
def test_a_name_is_removed_and_the_other_stays(store: Store, tmp_path: Path) -> None:
    layout = Layout(store)
    for name in ("piimage/thermo:v1", "piimage/thermo:v2"):
        layout.set_name(name, image(layout).descriptor)
    remove("piimage/thermo:v1", layout)
    assert list(layout.names()) == ["piimage/thermo:v2"]
    with pytest.raises(InputError, match=r"did you mean piimage/thermo:v2\?"):
        remove("piimage/thermo:v1", layout)
    with pytest.raises(InputError, match="no image piimage/thermo:v1"):
        save("piimage/thermo:v1", tmp_path / "a.tar", layout)
