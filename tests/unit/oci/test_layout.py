from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from piimage.errors import PiimageError
from piimage.oci import models
from piimage.oci.layout import Layout, choose_manifest, fits
from piimage.oci.models import ARM64, Descriptor, Index, Manifest, Platform
from piimage.store import Store
from piimage.trees import file
from tests.unit.oci.images import AMD64, image

MIPS = Platform(os="linux", architecture="mips64le")


@pytest.fixture
def layout(store: Store) -> Layout:
    return Layout(store)


def manifest_of(layout: Layout, config: bytes, media_type: str = models.CONFIG) -> Descriptor:
    described = Descriptor.of(media_type, layout.store.add_bytes(config))
    return layout.write_manifest(Manifest(config=described, layers=()))


def test_an_image_is_read_as_it_was_written(layout: Layout) -> None:
    made = image(layout, [file("a", b"1")], [file("b", b"2")])
    read = layout.image(made.descriptor)
    assert read == made
    assert len(read.layers) == 2
    assert layout.complete(read) == made


def test_the_same_image_has_the_same_digest(layout: Layout, tmp_path: Path) -> None:
    other = Layout(Store(tmp_path / "other"))
    assert image(layout).descriptor == image(other).descriptor


def test_names_are_kept_replaced_and_forgotten(layout: Layout) -> None:
    first, second = image(layout), image(layout, [file("x", b"")])
    layout.set_name("app:1", first.descriptor)
    layout.set_name("app:2", first.descriptor)
    layout.set_name("app:1", second.descriptor)
    names = layout.names()
    assert {name: entry.digest for name, entry in names.items()} == {
        "app:1": second.descriptor.digest,
        "app:2": first.descriptor.digest,
    }
    layout.drop_name("app:1")
    assert list(layout.names()) == ["app:2"]


def test_the_order_of_naming_does_not_show(layout: Layout, tmp_path: Path) -> None:
    other = Layout(Store(tmp_path / "other"))
    for target, order in ((layout, "abc"), (other, "cab")):
        for name in order:
            target.set_name(name, image(target).descriptor)
    assert (layout.store.root / "index.json").read_bytes() == (
        other.store.root / "index.json"
    ).read_bytes()


def test_skopeo_reads_the_layout(layout: Layout) -> None:
    made = image(layout)
    layout.set_name("app:1", made.descriptor)
    printed = subprocess.run(
        ["skopeo", "inspect", "--raw", f"oci:{layout.store.root}:app:1"],
        check=True,
        capture_output=True,
    ).stdout
    assert printed == layout.document(made.descriptor)


def test_an_sbom_is_found_by_the_image_that_it_describes(layout: Layout) -> None:
    made, other = image(layout), image(layout, [file("x", b"")])
    sbom = Descriptor.of("application/spdx+json", layout.store.add_bytes(b'{"spdx":1}'))
    added = layout.attach(made.descriptor, "application/spdx+json", [sbom], {"a": "b"})
    assert [found.digest for found in layout.referrers(made.descriptor)] == [added.digest]
    assert layout.referrers(other.descriptor) == ()
    document = json.loads(layout.document(added))
    assert document["subject"]["digest"] == made.descriptor.digest
    assert document["artifactType"] == "application/spdx+json"
    assert document["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
    layout.attach(made.descriptor, "application/spdx+json", [sbom], {"a": "b"})
    assert len(layout.referrers(made.descriptor)) == 1


def test_an_image_has_the_last_artifact_of_each_type(layout: Layout) -> None:
    made, other = image(layout), image(layout, [file("x", b"")])
    kept = layout.attach(made.descriptor, "application/vnd.in-toto+json", [])
    of_other = layout.attach(other.descriptor, "application/spdx+json", [], {"by": "one"})
    layout.attach(made.descriptor, "application/spdx+json", [], {"by": "one"})
    last = layout.attach(made.descriptor, "application/spdx+json", [], {"by": "another"})
    attached = {found.digest for found in layout.referrers(made.descriptor)}
    assert attached == {kept.digest, last.digest}
    assert layout.referrers(other.descriptor) == (of_other,)


@pytest.mark.parametrize(
    ("offered", "fitting"),
    [
        (ARM64, True),
        (Platform(os="linux", architecture="arm64"), True),
        (Platform(os="linux", architecture="arm64", variant=""), True),
        (Platform(os="linux", architecture="arm64", variant="v9"), False),
        (Platform(os="linux", architecture="arm", variant="v7"), False),
        (Platform(os="windows", architecture="arm64"), False),
        (AMD64, False),
    ],
)
def test_what_fits_a_raspberry_pi(offered: Platform, fitting: bool) -> None:
    assert fits(offered, ARM64) is fitting


def index_of(layout: Layout, *platforms: Platform | None) -> Index:
    entries = []
    for number, platform in enumerate(platforms):
        made = image(layout, [file("n", b"%d" % number)], platform=platform or ARM64)
        entries.append(made.descriptor.model_copy(update={"platform": platform}))
    return Index(manifests=tuple(entries))


def test_the_exact_variant_is_chosen_before_one_without(layout: Layout) -> None:
    index = index_of(layout, AMD64, Platform(os="linux", architecture="arm64"), ARM64)
    assert choose_manifest(index, ARM64, "x") == index.manifests[2]


def test_a_lone_entry_without_platform_is_judged_by_its_configuration(layout: Layout) -> None:
    described = layout.write_index(index_of(layout, None))
    assert layout.choose(described).config.platform == ARM64


def test_an_index_in_an_index_is_followed(layout: Layout) -> None:
    inner = layout.write_index(index_of(layout, AMD64, ARM64))
    outer = layout.write_index(Index(manifests=(inner,)))
    assert layout.choose(outer).config.platform == ARM64


@pytest.mark.provokes("oci.wrong-platform")
def test_an_index_without_arm64_says_what_it_has(layout: Layout) -> None:
    unknown = Platform(os="unknown", architecture="unknown")
    described = layout.write_index(index_of(layout, AMD64, MIPS, unknown))
    with pytest.raises(PiimageError, match="is for linux/amd64, linux/mips64le, and a Raspberry"):
        layout.choose(described)


def test_an_image_for_another_architecture_says_which(layout: Layout) -> None:
    with pytest.raises(PiimageError, match="is for linux/amd64, and a Raspberry Pi needs linux/"):
        layout.choose(image(layout, platform=AMD64).descriptor)


def test_entries_without_platform_are_not_guessed_among(layout: Layout) -> None:
    with pytest.raises(PiimageError, match="a platform that it does not state"):
        layout.choose(layout.write_index(index_of(layout, None, None)))


def test_indexes_nested_without_end_are_refused(layout: Layout) -> None:
    described = image(layout).descriptor
    for _ in range(6):
        described = layout.write_index(Index(manifests=(described,)))
    with pytest.raises(PiimageError) as caught:
        layout.choose(described)
    assert caught.value.code == "oci.document"


@pytest.mark.provokes("oci.not-an-image")
def test_a_chart_is_not_an_image(layout: Layout) -> None:
    described = manifest_of(layout, b"{}", "application/vnd.cncf.helm.config.v1+json")
    with pytest.raises(PiimageError, match="not a container image but application/vnd"):
        layout.image(described)


def test_a_manifest_that_disagrees_with_its_configuration_is_refused(layout: Layout) -> None:
    config = b'{"os":"linux","architecture":"arm64","rootfs":{"diff_ids":["sha256:%s"]}}'
    with pytest.raises(PiimageError, match="lists 0 layers, its configuration 1"):
        layout.image(manifest_of(layout, config % (b"0" * 64)))


def test_an_altered_layer_is_found_and_dropped(layout: Layout) -> None:
    made = image(layout)
    path = layout.store.path(made.manifest.layers[0].blob)
    path.chmod(0o644)
    path.write_bytes(b"x" * made.manifest.layers[0].size)
    with pytest.raises(PiimageError) as caught:
        layout.complete(made)
    assert caught.value.code == "store.altered"
    assert not path.exists()


def test_a_size_that_is_not_the_blobs_is_refused(layout: Layout) -> None:
    made = image(layout)
    grown = made.descriptor.model_copy(update={"size": made.descriptor.size + 1})
    with pytest.raises(PiimageError) as caught:
        layout.image(grown)
    assert caught.value.code == "oci.document"
