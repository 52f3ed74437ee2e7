"""The engine's plumbing with a stand-in for buildx; a real engine is in the system tests."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from piimage.errors import PiimageError
from piimage.oci.archive import export_archive
from piimage.oci.engine import Build, Engine, build_failed
from piimage.oci.layout import Layout
from piimage.run import Runner
from piimage.store import Store
from piimage.trees import file
from tests.unit.oci.images import image

REMOTE = """#!/bin/sh
case $1 in
inspect)
    [ "$2" = farm ] || exit 9
    printf 'Name: farm\\nDriver: remote\\n\\nNodes:\\nName: farm0\\n'
    echo 'Platforms: linux/amd64, linux/arm64*'
    ;;
build)
    printf '%s\\n' "$@" >{log}
    for word; do
        case $word in
        type=oci,dest=*) dest=${{word#type=oci,dest=}}; cp {archive} "${{dest%%,*}}" ;;
        */Dockerfile) cp "$word" {log}.dockerfile ;;
        esac
    done
    ;;
esac
"""


@pytest.fixture
def layout(store: Store) -> Layout:
    return Layout(store)


def stand_in(folder: Path, text: str) -> Path:
    program = folder / "docker-buildx"
    program.write_text(text)
    program.chmod(0o755)
    return program


def test_another_builder_gets_the_bases_and_gives_an_oci_archive(
    layout: Layout, tmp_path: Path
) -> None:
    base = image(layout)
    far = Layout(Store(tmp_path / "far"))
    built = image(far, [file("built", b"1")])
    export_archive(far, {"out": built.descriptor}, tmp_path / "far.tar")
    script = REMOTE.format(log=tmp_path / "log", archive=tmp_path / "far.tar")
    engine = Engine(layout, Runner(), stand_in(tmp_path, script), builder="farm")
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM example/base\nRUN true\n")
    build = Build(context, {"example/base": base}, arguments={"V": "1"})
    assert engine.build(build).manifest == built.manifest
    words = (tmp_path / "log").read_text().splitlines()
    assert words[-1] == str(context)
    assert words[words.index("--builder") + 1] == "farm"
    assert words[words.index("--platform") + 1] == "linux/arm64"
    assert "V=1" in words
    named = next(word for word in words if word.startswith("piimage-base-0=oci-layout://"))
    assert named.endswith(f"@{base.descriptor.digest}")
    assert (tmp_path / "log.dockerfile").read_text() == "FROM piimage-base-0\nRUN true\n"


def test_a_builder_that_does_not_answer_is_named(layout: Layout, tmp_path: Path) -> None:
    program = stand_in(tmp_path, "#!/bin/sh\necho 'no builder \"far\" found' >&2\nexit 1\n")
    with pytest.raises(PiimageError, match='at far: no builder "far" found') as caught:
        Engine(layout, Runner(), program, builder="far").build(Build(tmp_path, {}))
    assert caught.value.code == "oci.no-engine"


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"manifest.json": b"[]"},
        {"manifest.json": b"{"},
        {"manifest.json": b'[{"Config":"c","Layers":[]}]'},
        {"manifest.json": b'[{"Config":"c","Layers":["l"]}]', "c": b"{}"},
        {"manifest.json": b'[{"Config":"c","Layers":["l"]}]', "c": json.dumps(
            {"os": "linux", "architecture": "arm64", "rootfs": {"diff_ids": []}}).encode()},
        {"manifest.json": b'[{"Config":"c","Layers":["l"]}]', "c": json.dumps(
            {"os": "l", "architecture": "a", "rootfs": {"diff_ids": ["sha256:" + "0" * 64]}}
        ).encode()},
    ],
)  # fmt: skip
def test_a_saved_image_that_is_none_is_refused(
    layout: Layout, tmp_path: Path, members: dict[str, bytes]
) -> None:
    with tarfile.open(tmp_path / "saved.tar", "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    with pytest.raises(PiimageError) as caught:
        Engine(layout, Runner(), tmp_path)._take(tmp_path / "saved.tar", ())
    assert caught.value.code == "oci.document"


def test_a_failed_build_shows_the_step_at_fault_and_not_the_others() -> None:
    own = [f"#5 0.{number} line {number}" for number in range(20)]
    output = ["#1 [internal] load", "#1 DONE", "#5 [2/3] RUN make", *own, "#6 [other] RUN sleep",
            "#6 CANCELED", "#5 ERROR: exit code: 2", "------", " > [2/3] RUN make:"]  # fmt: skip
    message = build_failed("\n".join(output), "Dockerfile").message
    assert "line 19" in message
    assert message.endswith("#5 ERROR: exit code: 2")
    assert "#6" not in message
    assert "line 3\n" not in message


def test_a_build_that_fails_without_a_step_shows_its_output() -> None:
    assert "no space left" in build_failed("ERROR: no space left\n", "x").message
