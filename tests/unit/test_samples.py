"""Copies of what piimage ships work where they land, and overwrite nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from piimage import samples
from piimage.cli.main import execute
from piimage.config.load import load_all, load_folder

ALL = samples.names()


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_samples_of_each_kind_are_named() -> None:
    assert {"boards/pi4", "kernel-modules/hello", "services/bmp280"} <= set(ALL)
    assert {name.partition("/")[0] for name in ALL} == {"boards", "kernel-modules", "services"}


@pytest.mark.parametrize("name", [name for name in ALL if name.startswith("services/")])
def test_a_copied_service_is_complete_in_itself(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy is no longer one of piimage's own folders, so it may name nothing outside of it."""
    monkeypatch.chdir(tmp_path)
    word = name.removeprefix("services/")
    assert execute(["new", "--folder", name]) == 0
    load_folder(tmp_path / word)
    (tmp_path / "a.yml").write_text(
        f"board: qemu-virt\nonboot:\n  - {{ name: {word}, build: {word} }}\n"
    )
    assert load_all([tmp_path / "a.yml"]).onboot[0].name == word


def test_libraries_come_into_the_copy_without_their_tests(tmp_path: Path) -> None:
    copied = samples.copy("services/bmp280", tmp_path / "mine")
    assert load_folder(copied).python == (str(copied / "sensorkit"), str(copied))
    found = files(copied)
    assert {"service.yml", "bmp280/__main__.py", "sensorkit/pyproject.toml"} <= found
    assert "sensorkit/sensorkit/station.py" in found
    assert [path for path in found if "test" in path or "Dockerfile" in path] == [
        "sensorkit/sensorkit/selftest.py"
    ]


def test_a_script_of_another_service_comes_into_the_copy(tmp_path: Path) -> None:
    copied = samples.copy("services/dhcp-renew", tmp_path / "mine")
    assert files(copied) == {"service.yml", "dhcp.sh", "use-lease.sh"}
    assert "../" not in (copied / "service.yml").read_text()


def test_a_link_within_the_container_stays(tmp_path: Path) -> None:
    copied = samples.copy("services/ntp", tmp_path / "mine")
    assert "etc/resolv.conf: ../run/resolv.conf" in (copied / "service.yml").read_text()


def test_a_board_lands_where_files_beside_it_find_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert execute(["new", "--folder", "boards/pi4"]) == 0
    (tmp_path / "boards/pi4.yml").rename(tmp_path / "boards/mine.yml")
    (tmp_path / "a.yml").write_text("board: mine\n")
    assert execute(["check", "a.yml"]) == 0


def test_a_module_is_copied(tmp_path: Path) -> None:
    copied = samples.copy("kernel-modules/hello", tmp_path / "greet")
    assert files(copied) == {"Kbuild", "hello.c", "module.yml"}


@pytest.mark.provokes("config.exists")
@pytest.mark.parametrize("name", ["services/ntp", "boards/pi4"])
def test_nothing_is_overwritten(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "mine"
    target.write_text("precious")
    assert execute(["new", str(target), "--folder", name]) == 2
    assert "exists already; give another name" in capsys.readouterr().err.replace(
        " [config.exists]", ""
    )
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert target.read_text() == "precious"


@pytest.mark.provokes("config.no-sample")
@pytest.mark.parametrize(
    "name", ["services/../../etc", "services/none", "x", "/etc", "libraries/sensorkit"]
)
def test_what_is_not_shipped_is_not_copied(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["new", str(tmp_path / "mine"), "--folder", name]) == 2
    assert f"piimage has no {name}" in capsys.readouterr().err
    assert [*tmp_path.iterdir()] == []


def test_a_new_file_needs_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["new", "--board", "pi4"]) == 2
    assert "name the file to write" in capsys.readouterr().err
