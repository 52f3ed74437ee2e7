from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from piimage.errors import InputError, PiimageError
from piimage.oci.archive import (
    REFERRERS,
    export_archive,
    export_folder,
    import_archive,
    import_folder,
)
from piimage.oci.layout import Layout
from piimage.oci.models import ARM64, Descriptor, Index, Platform
from piimage.store import Store
from piimage.trees import Entry, file, read_tar, tar_chunks
from tests.examples import examples
from tests.unit.oci.images import AMD64, image


@pytest.fixture
def layout(store: Store) -> Layout:
    return Layout(store)


@pytest.fixture
def other(tmp_path: Path) -> Layout:
    return Layout(Store(tmp_path / "other"))


def archive(layout: Layout, tmp_path: Path) -> Path:
    path = tmp_path / "image.tar"
    export_archive(layout, {"app:1": image(layout).descriptor}, path)
    return path


def blobs(layout: Layout) -> set[str]:
    return {path.name for path in (layout.store.root / "blobs/sha256").iterdir()}


def entries(path: Path) -> list[Entry]:
    def kept(entry: Entry) -> Entry:
        data = b"".join(entry.content())
        return file(entry.path, data) if entry.kind.name == "FILE" else entry

    with path.open("rb") as stream:
        return [kept(entry) for entry in read_tar(stream, "test")]


def test_an_archive_comes_back_whole(layout: Layout, other: Layout, tmp_path: Path) -> None:
    made = image(layout)
    sbom = Descriptor.of("application/spdx+json", layout.store.add_bytes(b"{1}"))
    layout.attach(made.descriptor, "application/spdx+json", [sbom])
    path = tmp_path / "image.tar"
    export_archive(layout, {"app:1": made.descriptor}, path)
    with path.open("rb") as stream:
        import_archive(other, stream, "image.tar")
    named = other.names()["app:1"]
    assert other.complete(other.image(named)).manifest == made.manifest
    assert blobs(other) == blobs(layout)
    (bill,) = other.referrers(named)
    assert other.manifest(bill).layers == (sbom,)


@pytest.mark.parametrize("platforms", [(ARM64,), (AMD64, ARM64)])
def test_an_archive_with_bills_opens_by_its_file_name_alone(
    layout: Layout, other: Layout, tmp_path: Path, platforms: tuple[Platform, ...]
) -> None:
    made = [image(layout, platform=platform).descriptor for platform in platforms]
    for number, descriptor in enumerate(made):
        bill = layout.store.add_bytes(b"bill %d" % number)
        layout.attach(descriptor, "application/spdx+json", [Descriptor.of("a/b", bill)])
    top = made[0] if len(made) == 1 else layout.write_index(Index(manifests=tuple(made)))
    path = tmp_path / "app.tar"
    export_archive(layout, {"example/app:1": top}, path)
    for form in ("oci-archive", "docker-archive"):
        words = ["--override-arch", platforms[0].architecture, f"{form}:{path}"]
        subprocess.run(["skopeo", "inspect", "--config", *words], check=True, capture_output=True)
    with path.open("rb") as stream:
        import_archive(other, stream, "app.tar")
    assert [len(other.referrers(descriptor)) for descriptor in made] == [1] * len(made)
    (docker,) = (entry for entry in entries(path) if entry.path == "manifest.json")
    (listed,) = json.loads(b"".join(docker.content()))
    assert listed["RepoTags"] == ["example/app:1"]


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        ("app", ["app:latest"]),
        ("a/b:1", ["a/b:1"]),
        ("h:5/a", ["h:5/a:latest"]),
        ("No Name", []),
        (f"a@sha256:{'0' * 64}", []),
        (f"a:1@sha256:{'0' * 64}", ["a:1"]),
    ],
)
def test_docker_gets_names_that_it_takes(
    layout: Layout, tmp_path: Path, name: str, tags: list[str]
) -> None:
    path = tmp_path / "app.tar"
    export_archive(layout, {name: image(layout).descriptor}, path)
    listed = next(e for e in entries(path) if e.path == "manifest.json")
    assert json.loads(b"".join(listed.content()))[0]["RepoTags"] == tags


@pytest.mark.provokes("oci.layout")
@pytest.mark.parametrize("digest", ["sha256:" + "0" * 64, "sha256:../../index.json", "x"])
def test_a_list_of_what_is_attached_that_is_not_there_is_refused(
    layout: Layout, other: Layout, tmp_path: Path, digest: str
) -> None:
    def spoilt(entry: Entry) -> Entry:
        if entry.path != "index.json":
            return entry
        index = json.loads(b"".join(entry.content()))
        return file(entry.path, json.dumps({**index, "annotations": {REFERRERS: digest}}).encode())

    parts = [spoilt(entry) for entry in entries(archive(layout, tmp_path))]
    with pytest.raises(PiimageError) as caught:
        import_archive(other, io.BytesIO(b"".join(tar_chunks(parts))), "image.tar")
    assert caught.value.code == "oci.layout"


def test_skopeo_takes_the_archive_and_the_folder(layout: Layout, tmp_path: Path) -> None:
    made = image(layout)
    export_folder(layout, {"app": made.descriptor}, tmp_path / "folder")
    export_archive(layout, {"app": made.descriptor}, tmp_path / "app.tar")
    for source in (f"oci:{tmp_path}/folder:app", f"oci-archive:{tmp_path}/app.tar:app"):
        target = tmp_path / "copied"
        subprocess.run(["skopeo", "copy", "-q", source, f"dir:{target}"], check=True)
        assert (target / "manifest.json").read_bytes() == layout.document(made.descriptor)


def test_a_layout_of_skopeo_is_taken(layout: Layout, other: Layout, tmp_path: Path) -> None:
    made = image(layout)
    layout.set_name("app", made.descriptor)
    subprocess.run(
        ["skopeo", "copy", "-q", f"oci:{layout.store.root}:app", f"oci:{tmp_path}/new:there"],
        check=True,
    )
    (taken,) = import_folder(other, tmp_path / "new")
    assert taken.digest == made.descriptor.digest
    assert list(other.names()) == ["there"]


def test_an_index_takes_its_platforms_along(layout: Layout, other: Layout, tmp_path: Path) -> None:
    platforms = [image(layout, platform=p).descriptor for p in (AMD64, ARM64)]
    described = layout.write_index(Index(manifests=tuple(platforms)))
    export_folder(layout, {"multi": described}, tmp_path / "out")
    import_folder(other, tmp_path / "out")
    assert other.choose(other.names()["multi"]).config.platform == ARM64


def test_two_exports_are_the_same_bytes(layout: Layout, tmp_path: Path) -> None:
    made = image(layout)
    for name in ("one", "two"):
        export_archive(layout, {"app": made.descriptor}, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.provokes("oci.exists")
def test_an_export_replaces_no_folder(layout: Layout, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        export_folder(layout, {"app": image(layout).descriptor}, tmp_path)


def test_a_failed_export_leaves_nothing(layout: Layout, tmp_path: Path) -> None:
    made = image(layout)
    layout.store.path(made.manifest.layers[0].blob).unlink()
    (tmp_path / "out").mkdir()
    with pytest.raises(PiimageError):
        export_archive(layout, {"app": made.descriptor}, tmp_path / "out/app.tar")
    with pytest.raises(PiimageError):
        export_folder(layout, {"app": made.descriptor}, tmp_path / "out/app")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.provokes("oci.blob")
@pytest.mark.parametrize("damage", ["altered", "missing"])
def test_a_damaged_blob_is_refused_and_nothing_kept(
    layout: Layout, other: Layout, tmp_path: Path, damage: str
) -> None:
    parts = entries(archive(layout, tmp_path))
    altered = [*parts[:-1]] if damage == "missing" else [*parts[:-1], file(parts[-1].path, b"x")]
    with pytest.raises(PiimageError) as caught:
        import_archive(other, io.BytesIO(b"".join(tar_chunks(altered))), "image.tar")
    assert caught.value.code == "oci.blob"
    assert blobs(other) == set()
    assert other.names() == {}


@pytest.mark.provokes("oci.layout")
def test_a_tar_of_something_else_is_refused(other: Layout, tmp_path: Path) -> None:
    data = b"".join(tar_chunks([file("etc/motd", b"hello")]))
    with pytest.raises(InputError, match="not an OCI image layout"):
        import_archive(other, io.BytesIO(data), "some.tar")
    with pytest.raises(InputError, match="not an OCI image layout"):
        import_folder(other, tmp_path)


@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_mangled_archive_is_taken_or_refused(
    layout: Layout, other: Layout, tmp_path: Path, data: st.DataObject
) -> None:
    whole = bytearray(archive(layout, tmp_path).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    mangled = bytes(whole[:cut]) if data.draw(st.booleans()) else bytes(whole)
    try:
        import_archive(other, io.BytesIO(mangled), "fuzz")
    except PiimageError as error:
        assert error.code.partition(".")[0] in ("oci", "trees")
