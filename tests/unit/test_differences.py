from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.cli.main import execute
from piimage.differences import manifest_path, read_manifest
from piimage.errors import InputError
from piimage.sbom.manifest import Origin, encode
from piimage.sbom.model import bill
from tests.examples import examples

RUNC = "pkg:deb/debian/runc@{}?arch=arm64"


def written(folder: Path, name: str, *origins: Origin) -> Path:
    path = folder / f"{name}.manifest.json"
    path.write_bytes(encode(bill("pi4", name, ()), origins, {}))
    return path


def runc(version: str, digest: str) -> Origin:
    return Origin("base: /usr/bin/runc", 1, digest * 64, RUNC.format(version))


def test_packages_layers_and_files_that_changed_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layer = Origin("slot: layers/a.squashfs", 1, "a" * 64, "layer:base")
    other = Origin("slot: layers/b.squashfs", 1, "b" * 64, "layer:base")
    gone = Origin("base: /etc/motd", 1, "e" * 64, "piimage:base")
    same = Origin("slot: kernel.img", 1, "f" * 64, "piimage:x")
    first = written(tmp_path, "one", runc("1%3A1.1-1", "1"), layer, gone, same)
    second = written(tmp_path, "two", runc("1%3A1.2-1", "2"), other, same)
    assert execute(["diff", str(first), str(second)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "~ package runc 1:1.1-1 -> 1:1.2-1",
        f"~ layer base {'a' * 12} -> {'b' * 12}",
        f"- file base: /etc/motd {'e' * 12}",
        f"~ file base: /usr/bin/runc {'1' * 12} -> {'2' * 12}",
    ]


def test_json_has_one_change_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = written(tmp_path, "one"), written(tmp_path, "two", runc("1", "1"))
    assert execute(["diff", "--json", str(first), str(second)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == {"kind": "package", "name": "runc", "before": None, "after": "1"}


def test_an_image_stands_for_the_manifest_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, "one", runc("1", "1"))
    assert execute(["diff", str(tmp_path / "one.img"), str(tmp_path / "one.img")]) == 0
    assert capsys.readouterr().out == "the same\n"


@pytest.mark.parametrize("names", [("open", "secret"), ("secret", "open"), ("secret", "secret")])
def test_what_no_manifest_tells_of_is_not_called_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], names: tuple[str, str]
) -> None:
    for name in ("open", "secret"):
        data = encode(bill("pi4", "one", ()), (), {}, complete=name == "open")
        (tmp_path / f"{name}.manifest.json").write_bytes(data)
    assert execute(["diff", *(str(tmp_path / f"{name}.img") for name in names)]) == 0
    assert capsys.readouterr().out == (
        "the same; files that only their owner may read were not compared\n"
    )


@pytest.mark.provokes("diff.no-manifest")
def test_an_image_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such manifest"):
        manifest_path(tmp_path / "x.img")


@pytest.mark.provokes("diff.bad-manifest")
@pytest.mark.parametrize("text", ["", "[]", "{}", '{"identity": 1, "files": {"a": 1}}', "[" * 9999])
def test_another_file_is_no_manifest(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(InputError, match="not the manifest of a build"):
        read_manifest(path)


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@settings(max_examples=examples(50))
@given(JSON, JSON)
def test_foreign_json_gives_an_error_of_ours_or_a_manifest(
    tmp_path_factory: pytest.TempPathFactory, files: object, fields: object
) -> None:
    path = tmp_path_factory.getbasetemp() / "foreign.json"
    path.write_text(json.dumps({"identity": "x", "files": {"a": fields, "b": files}}))
    try:
        read_manifest(path)
    except InputError as error:
        assert error.code == "diff.bad-manifest"
