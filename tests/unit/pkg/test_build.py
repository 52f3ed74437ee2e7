"""Folders composed to images, read back with the project's reader and as plain JSON and tar."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from piimage import events
from piimage.config.container import LABEL, linuxkit_defaults, merge, secure_defaults
from piimage.config.load import load_folder, parse_label
from piimage.debian.request import Request
from piimage.errors import InputError
from piimage.lock import Lock, LockedEnvironment, LockedRoot, render_lock
from piimage.locking.folders import base_tree
from piimage.locking.inputs import Inputs
from piimage.oci.layout import Layout
from piimage.oci.models import Descriptor
from piimage.pkg.build import ImageRequest, build, show_tag
from piimage.pkg.delivery import login_file, write_file
from piimage.pkg.image import Built
from piimage.pkg.listing import rows
from piimage.pkg.locking import Pins, lock_of, lock_path
from piimage.pkg.source import open_source, platforms
from piimage.python.source import source_requests
from piimage.run import Runner
from piimage.store import Store

SERVICE = """
name: thermo
license: MIT
files:
  - {path: usr/bin/thermo, source: thermo.sh, mode: "0755"}
users: [{name: sensor, uid: 990, gid: 990}]
groups: [{name: sensor, gid: 990}]
entrypoint: [/usr/bin/thermo]
user: sensor
config:
  capabilities: [CAP_SYS_NICE]
  env: [A=1]
"""


class NoInputs(Inputs):
    """Inputs of which none may be opened."""

    def refuse(self, *_: object) -> Any:
        raise AssertionError("nothing has to be fetched")

    archive = fetcher = images = pinning = wheels = refuse


@pytest.fixture
def inputs(store: Store, runner: Runner) -> Inputs:
    return NoInputs(store, runner, events.ignore, lambda: 0.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "thermo"
    found.mkdir()
    (found / "service.yml").write_text(SERVICE)
    (found / "thermo.sh").write_text("#!/bin/sh\necho warm\n")
    return found


Make = Callable[..., Built]


@pytest.fixture
def make(folder: Path, inputs: Inputs) -> Make:
    def made(*words: str, locked: bool = False, tag: str = "{{.Hash}}") -> Built:
        source = open_source(folder)
        pins = Pins(lock_path(source), locked=locked)
        return build(ImageRequest(source, platforms(words), pins, tag=tag), inputs)

    return made


def document(store: Store, descriptor: Descriptor) -> Any:
    data = store.path(descriptor.blob).read_bytes()
    assert hashlib.sha256(data).hexdigest() == descriptor.blob.sha256
    return json.loads(data)


def test_the_image_has_the_settings_of_the_folder(make: Make, store: Store, folder: Path) -> None:
    made = make()
    manifest = document(store, made.descriptor)
    config = json.loads(store.path(made.images[0].manifest.config.blob).read_bytes())
    assert (config["os"], config["architecture"], config["variant"]) == ("linux", "arm64", "v8")
    assert config["config"]["Entrypoint"] == ["/usr/bin/thermo"]
    assert config["config"]["User"] == "sensor"
    assert config["config"]["Env"] == ["A=1"]
    labels = config["config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == "thermo"
    assert labels["org.opencontainers.image.licenses"] == "MIT"
    # It would give the same packages and files another digest.
    assert "org.opencontainers.image.revision" not in labels
    ours = json.loads(labels["org.mobyproject.config"])
    assert ours["capabilities"] == ["CAP_SYS_NICE"]
    assert (ours["readonly"], ours["user"]) == (True, "sensor")
    (layer,) = manifest["layers"]
    unpacked = gzip.decompress((store.root / "blobs/sha256" / layer["digest"][7:]).read_bytes())
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(unpacked).hexdigest()}"]
    with tarfile.open(fileobj=io.BytesIO(unpacked)) as archive:
        program = archive.getmember("usr/bin/thermo")
        assert (program.mode, program.uid) == (0o755, 0)


def test_an_entry_that_names_the_image_runs_it_as_one_that_names_the_folder(
    make: Make, folder: Path
) -> None:
    execution = make().images[0].config.execution
    label = parse_label((execution.labels or {})[LABEL], "test")
    service = load_folder(folder)
    defaults = merge(secure_defaults(), service.container)
    assert merge(linuxkit_defaults(), label) == defaults.model_copy(update={"user": "sensor"})
    assert execution.entrypoint == service.entrypoint


def test_the_bill_is_attached_to_the_image(make: Make, store: Store) -> None:
    made = make()
    artifact = attached(store, made, "application/spdx+json")
    assert artifact["subject"]["digest"] == made.descriptor.digest
    revision = artifact["annotations"]["org.opencontainers.image.revision"]
    assert revision == made.reference.tag
    (part,) = artifact["layers"]
    bill = json.loads((store.root / "blobs/sha256" / part["digest"][7:]).read_bytes())
    assert bill["spdxVersion"] == "SPDX-2.3"
    (top,) = [package for package in bill["packages"] if package["SPDXID"] == "SPDXRef-card"]
    assert top["versionInfo"] == made.descriptor.digest
    assert top["primaryPackagePurpose"] == "CONTAINER"


def test_what_is_attached_does_not_depend_on_earlier_builds(
    make: Make, store: Store, folder: Path
) -> None:
    kinds = ("application/spdx+json", "application/vnd.in-toto+json")
    settings = folder / "service.yml"
    settings.write_text(f"# an earlier remark\n{SERVICE}")
    earlier = make()
    before = [attached(store, earlier, kind) for kind in kinds]
    settings.write_text(SERVICE)
    made = make()
    assert made.descriptor.digest == earlier.descriptor.digest
    after = [attached(store, made, kind) for kind in kinds]
    assert [artifact["annotations"] for artifact in after] == [
        {"org.opencontainers.image.revision": made.reference.tag}
    ] * 2
    assert before != after


def attached(store: Store, made: Built, kind: str) -> Any:
    """Return the one artifact of the type `kind` that is attached to the image."""
    artifacts = [document(store, entry) for entry in Layout(store).referrers(made.descriptor)]
    (found,) = [artifact for artifact in artifacts if artifact["artifactType"] == kind]
    return found


def test_attestations_of_bill_and_build_are_attached_to_the_image(make: Make, store: Store) -> None:
    made = make()
    artifact = attached(store, made, "application/vnd.in-toto+json")
    assert artifact["subject"]["digest"] == made.descriptor.digest
    statements = {}
    for part in artifact["layers"]:
        assert part["mediaType"] == "application/vnd.in-toto+json"
        text = json.loads((store.root / "blobs/sha256" / part["digest"][7:]).read_bytes())
        assert part["annotations"] == {"in-toto.io/predicate-type": text["predicateType"]}
        assert text["_type"] == "https://in-toto.io/Statement/v1"
        digest = made.descriptor.digest.removeprefix("sha256:")
        assert text["subject"] == [{"name": "thermo", "digest": {"sha256": digest}}]
        statements[text["predicateType"]] = text["predicate"]
    assert statements["https://spdx.dev/Document"]["spdxVersion"] == "SPDX-2.3"
    build = statements["https://slsa.dev/provenance/v1"]["buildDefinition"]
    assert build["externalParameters"] == {
        "folder": "thermo",
        "content": made.reference.tag,
        "recipe": "service.yml",
        "platform": "linux/arm64/v8",
        "argumentDigests": {},
    }


def test_the_same_folder_gives_the_same_bytes_elsewhere(
    make: Make, folder: Path, tmp_path: Path, runner: Runner, inputs: Inputs
) -> None:
    first = make()
    other = NoInputs(Store(tmp_path / "other"), runner, events.ignore, lambda: 0.0)
    source = open_source(folder)
    again = build(ImageRequest(source, platforms(()), Pins(lock_path(source))), other)
    assert again == first
    copy, copy_elsewhere = tmp_path / "here.tar", tmp_path / "there.tar"
    write_file(first, copy, "oci", inputs)
    write_file(again, copy_elsewhere, "oci", other)
    assert copy.read_bytes() == copy_elsewhere.read_bytes()


def test_a_changed_file_leaves_no_trace_of_the_old_state(
    make: Make, folder: Path, store: Store
) -> None:
    old = make(tag="{{.Hash}}-dirty-0000000")
    (folder / "thermo.sh").write_text("#!/bin/sh\necho hot\n")
    new = make(tag="{{.Hash}}-dirty-1111111")
    assert new.descriptor != old.descriptor
    layout = Layout(store)
    assert list(layout.names()) == [str(new.reference)]
    assert layout.referrers(old.descriptor) == ()
    assert len(layout.referrers(new.descriptor)) == 2  # the bill, and the attestations
    kept = make(tag="v1")
    assert sorted(layout.names()) == sorted([str(kept.reference)])


def test_several_platforms_make_an_index(make: Make, store: Store) -> None:
    made = make("linux/amd64")
    index = document(store, made.descriptor)
    assert [manifest["platform"] for manifest in index["manifests"]] == [
        {"os": "linux", "architecture": "arm64", "variant": "v8"},
        {"os": "linux", "architecture": "amd64"},
    ]
    (row,) = rows(Layout(store))
    assert row.platforms == ("linux/arm64/v8", "linux/amd64")
    assert {referrer.subject for referrer in row.referrers} == {
        manifest["digest"] for manifest in index["manifests"]
    }


def test_the_list_has_what_was_built_and_not_what_was_cleaned_away(
    make: Make, store: Store
) -> None:
    made = make(tag="v1")
    (row,) = rows(Layout(store))
    assert (row.name, row.tag, row.digest) == ("piimage/thermo", "v1", made.descriptor.digest)
    assert row.size == made.images[0].manifest.layers[0].size == made.size
    assert {referrer.type for referrer in row.referrers} == {
        "application/spdx+json",
        "application/vnd.in-toto+json",
    }
    gone = store.path(made.images[0].manifest.layers[0].blob)
    kept = gone.rename(gone.with_name("kept"))
    assert rows(Layout(store)) == ()
    kept.rename(gone)
    assert rows(Layout(store)) == (row,)
    store.path(made.descriptor.blob).unlink()
    assert rows(Layout(store)) == ()


@pytest.mark.parametrize("words", [(), ("linux/amd64",)])
def test_the_tag_before_the_first_build_is_that_of_the_build(
    make: Make, folder: Path, inputs: Inputs, words: tuple[str, ...]
) -> None:
    source = open_source(folder)
    request = ImageRequest(source, platforms(words), Pins(lock_path(source)))
    before = show_tag(request, inputs)
    made = make(*words)
    assert made.reference == before
    assert show_tag(request, inputs) == before


def test_a_tag_without_the_hash_needs_no_lock(folder: Path, inputs: Inputs) -> None:
    source = open_source(folder)
    request = ImageRequest(source, platforms(()), Pins(lock_path(source)), tag="v1")
    assert str(show_tag(request, inputs)) == "piimage/thermo:v1"
    assert not lock_path(source).exists()


def test_a_lock_that_would_change_is_refused_when_locked(make: Make, folder: Path) -> None:
    make()
    assert make(locked=True) == make()
    (folder / "service.yml").write_text(SERVICE + "packages: [busybox-static]\n")
    with pytest.raises(InputError, match="busybox-static") as caught:
        make(locked=True)
    assert caught.value.code == "lock.outgrown"
    assert "--locked" in str(caught.value)


@pytest.mark.provokes("pkg.lock-place")
def test_a_lock_that_cannot_be_written_is_refused(folder: Path, inputs: Inputs) -> None:
    pins = Pins(folder / "absent/x.lock")
    with pytest.raises(InputError, match="--lock FILE") as caught:
        build(ImageRequest(open_source(folder), platforms(()), pins), inputs)
    assert caught.value.code == "pkg.lock-place"


def test_a_profile_of_the_folder_does_not_become_a_path_in_the_label(
    make: Make, folder: Path, store: Store
) -> None:
    (folder / "profile.json").write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    (folder / "service.yml").write_text(SERVICE.replace("env: [A=1]", "seccomp: profile.json"))
    labels = make().images[0].config.execution.labels or {}
    assert str(folder) not in labels["org.mobyproject.config"]


@pytest.mark.provokes("pkg.form", "pkg.target")
def test_an_archive_that_cannot_be_written_is_refused(
    make: Make, inputs: Inputs, tmp_path: Path
) -> None:
    made = make()
    with pytest.raises(InputError) as form:
        write_file(made, tmp_path / "a.tar", "zip", inputs)
    with pytest.raises(InputError) as target:
        write_file(made, tmp_path / "absent/a.tar", "oci", inputs)
    assert (form.value.code, target.value.code) == ("pkg.form", "pkg.target")


def test_a_password_is_in_a_file_that_nobody_else_reads(tmp_path: Path) -> None:
    (tmp_path / "creds").write_text("me:pass:word\n")
    with login_file(tmp_path / "creds", "localhost:5000", tmp_path) as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        login = json.loads(path.read_text())["auths"]["localhost:5000"]["auth"]
    assert base64.b64decode(login) == b"me:pass:word"
    assert not path.exists()


@pytest.mark.provokes("pkg.credentials")
@pytest.mark.parametrize("text", [None, "", "me", "me:", ":word", "me:word\nmore", b"\xff:\xfe"])
def test_a_file_without_a_login_is_refused(tmp_path: Path, text: str | bytes | None) -> None:
    if text is not None:
        data = text if isinstance(text, bytes) else text.encode()
        (tmp_path / "creds").write_bytes(data)
    with (
        pytest.raises(InputError, match="USER:PASSWORD") as caught,
        login_file(tmp_path / "creds", "localhost:5000", tmp_path),
    ):
        pass
    assert caught.value.code == "pkg.credentials"
    assert "word" not in caught.value.message


def test_tools_of_the_build_machine_are_no_platform_of_the_image(
    folder: Path, inputs: Inputs
) -> None:
    service = f"{SERVICE}base: python\nsources: [spidev==3.8]\n"
    (folder / "service.yml").write_text(service)
    source = open_source(folder)
    requests = [
        Request("base/python", (tree := base_tree("python")).packages, tree.without),
        *source_requests(),
    ]
    roots = tuple(
        LockedRoot(request.root, request.packages, request.without, request.architecture, ())
        for request in requests
    )
    asks = LockedEnvironment("container/thermo", (), "arm64", "3.13", "2.41", (), ("spidev==3.8",))
    lock = Lock(roots=roots, environments=(asks,))
    lock_path(source).write_text(render_lock(lock))
    pins = Pins(lock_path(source), locked=True)
    same = lock_of(source, platforms(()), pins, inputs)
    assert {root.name for root in same.roots} == {root.name for root in roots}
    with pytest.raises(InputError, match=r"\+ base/python@amd64") as caught:
        lock_of(source, platforms(("linux/amd64",)), pins, inputs)
    assert "toolchain" not in caught.value.message


def test_a_sif_is_written_with_a_warning_if_apptainer_cannot_run_it(
    make: Make, store: Store, runner: Runner, tmp_path: Path
) -> None:
    told: list[events.Event] = []
    inputs = NoInputs(store, runner, told.append, lambda: 0.0)
    write_file(make(), tmp_path / "a.sif", "sif", inputs)
    assert (tmp_path / "a.sif").read_bytes()[32:41] == b"SIF_MAGIC"
    (warning,) = [event for event in told if isinstance(event, events.Warning)]
    assert "no /bin/sh" in warning.text
