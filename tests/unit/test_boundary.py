"""A folder that may have come from anywhere takes nothing from outside of it into an image."""

from __future__ import annotations

from pathlib import Path

import pytest

from piimage import resources
from piimage.boundary import boundary, is_inside, leading_out
from piimage.config.load import load_all, load_folder
from piimage.config.module_folder import module_folder
from piimage.errors import ErrorGroup, PiimageError
from piimage.locking.dockerfiles import base_images
from piimage.locking.folders import folder_of
from piimage.pkg.source import open_source
from piimage.python.project import read_project

PROJECT = '[project]\nname = "thing"\nversion = "1"\n'


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "home/.ssh/id_ed25519"
    file.parent.mkdir(parents=True)
    file.write_text("PRIVATE")
    return file


@pytest.fixture
def folder(tmp_path: Path, secret: Path) -> Path:
    """A container folder beside the home, with links of all kinds."""
    made = tmp_path / "project/app"
    (made / "conf/deep").mkdir(parents=True)
    (made / "conf/own").write_text("own")
    (made / "conf/deep/link").symlink_to(secret)
    (made / "link").symlink_to(secret)
    (made / "holds").mkdir()
    (made / "holds/folder-link").symlink_to(secret.parent)
    (made / "folder-link").symlink_to(secret.parent)
    (made / "up").symlink_to("..")
    (made / "loop").symlink_to("loop")
    (made / "inner-link").symlink_to("conf/own")
    (made / "pyproject.toml").write_text(PROJECT)
    (made / "thing").mkdir()
    (made / "thing/__init__.py").write_text("")
    return made


def described(folder: Path, text: str) -> Path:
    (folder / "service.yml").write_text(f"name: app\n{text}\n")
    return folder


def codes(error: PiimageError) -> set[str]:
    return {fault.code for fault in (error.errors if isinstance(error, ErrorGroup) else [error])}


NAMED = (
    "files: [{path: x, source: ../../home/.ssh/id_ed25519}]",
    "files: [{path: x, source: SECRET}]",
    "files: [{path: x, source: ~/.ssh/id_ed25519}]",
    "files: [{path: x, source: link}]",
    "files: [{path: x, source: folder-link/id_ed25519}]",
    "files: [{path: x, source: folder-link}]",
    "files: [{path: x, source: conf}]",
    "files: [{path: x, source: holds}]",
    "files: [{path: x, source: up/app/link}]",
    "files: [{path: x, source: .}]",
    "files: [{path: x, source: ..}]",
    "files: [{path: x, source: loop}]",
    "config: {seccomp: ../../home/.ssh/id_ed25519}",
    "config: {seccomp: link}",
    "config: {apparmor: ../../home/.ssh/id_ed25519}",
    "base: python\npython: [../other]",
    "base: python\npython: [linked-project]",
)


@pytest.mark.provokes("config.outside")
@pytest.mark.parametrize("text", NAMED)
def test_what_leads_out_of_a_container_folder_is_refused_with_its_place(
    folder: Path, secret: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(secret.parents[1]))
    other = folder.parent / "other"
    other.mkdir()
    (other / "pyproject.toml").write_text(PROJECT)
    (folder / "linked-project").symlink_to(other)
    described(folder, text.replace("SECRET", str(secret)))
    for read in (load_folder, open_source):
        with pytest.raises(PiimageError) as caught:
            read(folder)
        assert "config.outside" in codes(caught.value)
        found = caught.value.errors if isinstance(caught.value, ErrorGroup) else [caught.value]
        assert all(str(fault.place).startswith(f"{folder}/service.yml:") for fault in found)


@pytest.mark.provokes("config.outside")
def test_an_entry_refuses_what_its_folder_names_outside(folder: Path, tmp_path: Path) -> None:
    described(folder, "files: [{path: x, source: link}]")
    file = tmp_path / "project/pi4.yml"
    file.write_text("board: pi4\nservices: [{name: app, build: app}]\n")
    with pytest.raises(PiimageError, match=r"a link to .*id_ed25519, lies outside of") as caught:
        load_all([file])
    assert codes(caught.value) == {"config.outside"}


@pytest.mark.parametrize(
    "text",
    [
        "files: [{path: x, source: conf/own}]",
        "files: [{path: x, source: inner-link}]",
        "files: [{path: x, source: conf/../conf/own}]",
        "files: [{path: x, source: up/app/conf/own}]",
        "base: python\npython: [.]",
    ],
)
def test_what_stays_within_is_taken_however_it_is_written(folder: Path, text: str) -> None:
    """Links elsewhere in the folder, those of a virtual environment say, do no harm."""
    assert load_folder(described(folder, text)).name == "app"
    assert open_source(folder).name == "app"


def test_a_folder_may_be_reached_by_a_link(folder: Path, tmp_path: Path) -> None:
    described(folder, "files: [{path: x, source: conf/own}]")
    (tmp_path / "way").symlink_to(folder)
    assert load_folder(tmp_path / "way").name == "app"


@pytest.mark.provokes("config.outside")
@pytest.mark.parametrize("name", ["service.yml", "Dockerfile"])
def test_a_recipe_that_is_a_link_out_is_not_read(folder: Path, secret: Path, name: str) -> None:
    """Its lines would stand in error messages."""
    (folder / name).symlink_to(secret)
    with pytest.raises(PiimageError) as caught:
        open_source(folder)
    assert codes(caught.value) == {"config.outside"}
    assert "PRIVATE" not in str(caught.value)
    if name == "Dockerfile":
        with pytest.raises(PiimageError, match="lies outside of"):
            base_images(folder)


@pytest.mark.provokes("config.outside")
@pytest.mark.parametrize(
    "table",
    [
        '[tool.hatch.build.targets.wheel]\npackages = ["../../home"]\n',
        '[tool.setuptools]\npy-modules = ["../../home/module"]\n',
        '[tool.setuptools.packages.find]\nwhere = ["../../home"]\n',
        '[tool.hatch.build.targets.wheel]\npackages = ["linked"]\n',
        '[tool.hatch.build.targets.wheel]\npackages = ["holds_link"]\n',
    ],
)
def test_a_python_project_takes_nothing_from_outside(
    folder: Path, secret: Path, table: str
) -> None:
    home = secret.parents[1]
    (home / "__init__.py").write_text("")
    (home / "module.py").write_text("")
    (home / "package").mkdir()
    (home / "package/__init__.py").write_text("")
    (folder / "linked").symlink_to(home)
    (folder / "holds_link").mkdir()
    (folder / "holds_link/key.py").symlink_to(secret)
    (folder / "pyproject.toml").write_text(PROJECT + table)
    with pytest.raises(PiimageError, match="lies outside of"):
        read_project(folder)


@pytest.mark.provokes("config.outside")
def test_a_projects_file_that_is_a_link_out_is_not_read(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.toml").write_text(PROJECT)
    (folder / "pyproject.toml").unlink()
    (folder / "pyproject.toml").symlink_to(tmp_path / "elsewhere.toml")
    with pytest.raises(PiimageError, match="lies outside of"):
        read_project(folder)


@pytest.mark.provokes("config.outside")
@pytest.mark.parametrize("part", ["source", "prebuilt", "module.yml"])
def test_a_module_folder_is_a_boundary_too(tmp_path: Path, secret: Path, part: str) -> None:
    made = tmp_path / "module"
    made.mkdir()
    (made / "Kbuild").write_text("obj-m := a.o\n")
    prebuilt = "\nprebuilt: a.ko" if part == "prebuilt" else ""
    (made / "a.ko").symlink_to(secret)  # of no account where it is not asked for
    (made / "module.yml").write_text(f"name: a\nlicense: MIT{prebuilt}\n")
    if part == "source":
        (made / "a.c").symlink_to(secret)
    if part == "module.yml":
        (made / "module.yml").unlink()
        (made / "module.yml").symlink_to(secret)
    with pytest.raises(PiimageError) as caught:
        module = module_folder(made)
        module.prebuilt()
        module.sources()
    assert caught.value.code == "config.outside"
    assert "PRIVATE" not in str(caught.value)


@pytest.mark.provokes("config.outside")
def test_a_context_widens_the_boundary_and_no_further(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "project/shared").write_text("shared")
    described(folder, "files: [{path: x, source: ../shared}]")
    file = tmp_path / "project/pi4.yml"
    entry = "board: pi4\nservices: [{{name: app, build: app{}}}]\n"
    file.write_text(entry.format(", context: ."))
    load_all([file])
    assert open_source(folder, context=tmp_path / "project").name == "app"
    found = folder_of(load_all([file]).services[0])
    assert found is not None
    assert found.service.files[0].source == str(tmp_path / "project/shared")
    for more, where in ((", context: app/conf", f"{file}:2:"), ("", f"{folder}/service.yml:")):
        file.write_text(entry.format(more))
        with pytest.raises(PiimageError) as caught:
            load_all([file])
        assert codes(caught.value) == {"config.outside"}
        assert str(caught.value.place).startswith(where)
    described(folder, "files: [{path: x, source: ../../home/.ssh/id_ed25519}]")
    file.write_text(entry.format(", context: ."))
    with pytest.raises(PiimageError, match="lies outside of"):
        load_all([file])


@pytest.mark.provokes("config.misplaced")
@pytest.mark.parametrize("text", ["use: bmp280, context: .", "build: docker, context: ."])
def test_a_context_is_for_folders_that_are_composed(tmp_path: Path, text: str) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/Dockerfile").write_text("FROM scratch\n")
    file = tmp_path / "pi4.yml"
    file.write_text(f"board: pi4\nservices: [{{name: app, {text}}}]\n")
    with pytest.raises(PiimageError, match="context has no effect"):
        load_all([file])


def test_what_piimage_ships_shares_its_files(tmp_path: Path) -> None:
    services = resources.path("services")
    names = [path.parent.name for path in services.glob("*/service.yml")]
    assert len(names) > 8
    for name in names:
        load_folder(services / name)
    assert boundary(services / "bmp280") == services.parent
    assert boundary(tmp_path) == tmp_path


def test_an_appliance_names_its_owners_files_wherever_they_are(
    folder: Path, secret: Path, tmp_path: Path
) -> None:
    file = tmp_path / "project/pi4.yml"
    file.write_text(f"board: pi4\nfiles: [{{path: etc/x, source: {secret}}}]\n")
    assert load_all([file]).files[0].source == str(secret)


def test_a_name_that_begins_alike_is_another_folder(tmp_path: Path) -> None:
    for name in ("app", "app2"):
        (tmp_path / name).mkdir()
    assert not is_inside(tmp_path / "app2", tmp_path / "app")
    assert is_inside(tmp_path / "app", tmp_path / "app")
    assert list(leading_out(tmp_path / "app", tmp_path / "app")) == []
