from __future__ import annotations

from pathlib import Path

import pytest

from piimage.errors import InputError, PiimageError
from piimage.oci.models import ARM64
from piimage.pkg.source import AMD64, Dockerfile, open_source, platforms, reference

SERVICE = "name: thermo\nfiles: [{path: bin/run, contents: x}]\nentrypoint: [/bin/run]\n"


def folder(tmp_path: Path, *names: str) -> Path:
    found = tmp_path / "My_App"
    found.mkdir()
    texts = {"service.yml": SERVICE, "Dockerfile": "FROM scratch\n"}
    for name in names:
        (found / name).write_text(texts[name])
    return found


def test_a_service_comes_before_a_dockerfile(tmp_path: Path) -> None:
    source = open_source(folder(tmp_path, "service.yml", "Dockerfile"))
    assert source.name == "thermo"
    assert not isinstance(source.recipe, Dockerfile)


def test_a_dockerfile_is_built_when_asked_for_or_alone(tmp_path: Path) -> None:
    path = folder(tmp_path, "service.yml", "Dockerfile")
    assert isinstance(open_source(path, path / "Dockerfile").recipe, Dockerfile)
    (path / "service.yml").unlink()
    source = open_source(path)
    assert isinstance(source.recipe, Dockerfile)
    assert source.recipe.context == path
    assert source.name == "my_app"


@pytest.mark.provokes("pkg.no-folder", "pkg.no-recipe")
def test_a_folder_that_cannot_be_built_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as absent:
        open_source(tmp_path / "absent")
    assert absent.value.code == "pkg.no-folder"
    path = folder(tmp_path)
    with pytest.raises(InputError, match=r"no service.yml or Dockerfile") as empty:
        open_source(path)
    assert empty.value.code == "pkg.no-recipe"
    with pytest.raises(InputError, match=r"Dockerfile\.arm"):
        open_source(path, path / "Dockerfile.arm")


def test_inputs_are_the_folder_and_what_it_uses_from_outside(tmp_path: Path) -> None:
    path = folder(tmp_path, "service.yml", "Dockerfile")
    assert open_source(path).inputs == (path,)
    (tmp_path / "kit").mkdir()
    for project in (path / "pyproject.toml", tmp_path / "kit/pyproject.toml"):
        project.write_text("[project]\nname = 'x'\nversion = '1'\n")
    for config in (path / "own.conf", tmp_path / "shared.conf"):
        config.write_text("x")
    (path / "service.yml").write_text(
        "name: thermo\nbase: python\npython: [../kit, .]\n"
        "files: [{path: a, source: ../shared.conf}, {path: b, source: own.conf}]\n"
    )
    with pytest.raises(PiimageError, match="lies outside of"):
        open_source(path)
    source = open_source(path, context=tmp_path)
    assert source.inputs == (path, tmp_path / "kit", tmp_path / "shared.conf")
    wide = open_source(path, path / "Dockerfile", tmp_path)
    assert wide.inputs == (path, tmp_path)


def test_the_name_is_org_and_name_and_the_tag_holds_the_hash(tmp_path: Path) -> None:
    source = open_source(folder(tmp_path, "service.yml"))
    assert str(reference(source, "abc")) == "piimage/thermo:abc"
    named = reference(source, "abc", "localhost:5000/team", "v1-{{.Hash}}")
    assert str(named) == "localhost:5000/team/thermo:v1-abc"
    assert named.registry == "localhost:5000"
    with pytest.raises(InputError, match="is not a tag"):
        reference(source, "abc", tag="a b")


@pytest.mark.provokes("pkg.platform")
def test_arm64_is_always_built(tmp_path: Path) -> None:
    assert platforms(()) == (ARM64,)
    assert platforms(("linux/amd64",)) == (ARM64, AMD64)
    assert platforms(("linux/amd64,linux/arm64",)) == (ARM64, AMD64)
    assert platforms(("linux/arm64/v8",)) == (ARM64,)
    with pytest.raises(InputError, match="linux/s390x") as caught:
        platforms(("linux/s390x",))
    assert caught.value.code == "pkg.platform"
