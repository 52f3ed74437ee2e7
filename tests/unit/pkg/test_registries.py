"""What `pkg manifest` and `cache push` refuse; a real registry is in tests/system/pkg."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NoReturn

import pytest

from piimage.errors import InputError, PiimageError
from piimage.oci.layout import Layout
from piimage.oci.models import ARM64, LAYER_GZIP, Descriptor, Platform
from piimage.oci.reference import Reference, parse
from piimage.oci.registry import Registry, Resolved
from piimage.pkg.manifest import join
from piimage.pkg.mirroring import push
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
