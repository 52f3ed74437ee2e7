from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piimage.errors import InputError
from piimage.python.project import read_project

SITE = "usr/local/lib/python3.13/dist-packages"
PROJECT = '[project]\nname = "My_Thing"\nversion = "1.2"\n'


def project(folder: Path, text: str = PROJECT, *files: str) -> Path:
    (folder / "pyproject.toml").write_text(text)
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def laid(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path: (data, mode) for path, data, mode in read_project(folder).files("3.13")}


def imported(folder: Path) -> list[str]:
    paths = (path.removeprefix(f"{SITE}/") for path in laid(folder))
    return sorted(path for path in paths if ".dist-info/" not in path)


def test_a_package_beside_the_file_is_laid_in_with_its_data(tmp_path: Path) -> None:
    files = ("thing/__init__.py", "thing/web/page.html", "thing/__pycache__/x.pyc", "tests/x.py")
    folder = project(tmp_path, PROJECT, *files)
    assert imported(folder) == ["thing/__init__.py", "thing/web/page.html"]
    assert laid(folder)[f"{SITE}/thing/__init__.py"] == (b"thing/__init__.py", 0o644)


def test_a_src_folder_is_looked_in(tmp_path: Path) -> None:
    folder = project(tmp_path, PROJECT, "src/thing/__init__.py", "other/__init__.py")
    assert imported(folder) == ["thing/__init__.py"]


def test_tests_and_examples_are_not_packages_unless_listed(tmp_path: Path) -> None:
    folder = project(tmp_path, PROJECT, "thing/__init__.py", "tests/__init__.py")
    assert imported(folder) == ["thing/__init__.py"]


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        ('[tool.setuptools.packages.find]\ninclude = ["a*"]\n', ["a/__init__.py"]),
        ('[tool.setuptools.packages.find]\nexclude = ["a*"]\n', ["b/__init__.py"]),
        ('[tool.setuptools.packages.find]\nwhere = ["lib"]\n', ["c/__init__.py"]),
        ('[tool.setuptools]\npackages = ["b", "b.sub"]\n', ["b/__init__.py"]),
        ('[tool.setuptools]\npackages = []\npy-modules = ["one"]\n', ["one.py"]),
        ('[tool.hatch.build.targets.wheel]\npackages = ["lib/c"]\n', ["c/__init__.py"]),
    ],
)
def test_static_tables_of_backends_are_followed(
    tmp_path: Path, tool: str, expected: list[str]
) -> None:
    files = ("a/__init__.py", "b/__init__.py", "lib/c/__init__.py", "one.py")
    assert imported(project(tmp_path, PROJECT + tool, *files)) == expected


def test_programs_and_metadata_are_written(tmp_path: Path) -> None:
    text = (
        f'{PROJECT}dependencies = ["x>=1"]\n[project.scripts]\nthing = "thing.app:main"\n'
        '[project.entry-points."group.x"]\nname = "thing:object"\n'
    )
    found = laid(project(tmp_path, text, "thing/__init__.py"))
    program, mode = found["usr/local/bin/thing"]
    assert program.startswith(b"#!/usr/bin/python3\n")
    assert mode == 0o755
    info = f"{SITE}/my_thing-1.2.dist-info"
    assert found[f"{info}/METADATA"][0].decode().splitlines() == [
        "Metadata-Version: 2.1", "Name: my-thing", "Version: 1.2", "Requires-Dist: x>=1",
    ]  # fmt: skip
    assert b"[group.x]\nname = thing:object" in found[f"{info}/entry_points.txt"][0]
    assert b"thing/__init__.py,sha256=" in found[f"{info}/RECORD"][0]
    assert b"../../../bin/thing,sha256=" in found[f"{info}/RECORD"][0]


def test_a_version_from_elsewhere_is_zero(tmp_path: Path) -> None:
    text = '[project]\nname = "thing"\ndynamic = ["version"]\n'
    assert read_project(project(tmp_path, text, "thing/__init__.py")).version == "0"


@pytest.mark.provokes("python.project")
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", r"no \[project\] with a name"),
        ("[project", "Expected"),
        ('[project]\nname = "../x"\n', "with a name"),
        ('[project]\nname = "x"\nversion = "a b"\n', "is not a version"),
        ('[project]\nname = "x"\nscripts = 3\n', "wrong type"),
        ('[project]\nname = "x"\n[project.scripts]\nx = "no function"\n', "object reference"),
        (
            f'{PROJECT}[tool.hatch.build.targets.wheel]\npackages = ["gone"]\n',
            "its packages are missing",
        ),
        (f'{PROJECT}[tool.setuptools.packages.find]\ninclude = ["zz*"]\n', "none was found"),
        ("build-system = 3\n", "no .project."),
    ],
)
def test_a_project_that_cannot_be_used_says_why(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(InputError, match=why) as caught:
        read_project(project(tmp_path, text, "thing/__init__.py"))
    assert caught.value.place == str(tmp_path / "pyproject.toml")


@pytest.mark.provokes("python.project")
def test_a_folder_without_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no pyproject"):
        read_project(tmp_path)


@pytest.mark.provokes("python.needs-build")
@pytest.mark.parametrize(
    ("text", "file"),
    [
        (PROJECT, "setup.py"),
        (PROJECT, "thing/fast.c"),
        (f'{PROJECT}[build-system]\nbuild-backend = "maturin"\n', "thing/x.py"),
        (f"{PROJECT}[[tool.setuptools.ext-modules]]\nname = 'x'\n", "thing/x.py"),
    ],
)
def test_what_only_a_build_can_make_is_refused(tmp_path: Path, text: str, file: str) -> None:
    with pytest.raises(InputError, match="does not run its build backend"):
        read_project(project(tmp_path, text, "thing/__init__.py", file))


@given(text=st.text(st.sampled_from('[]project."name=x\n{},1setuptools '), max_size=60))
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = project(tmp_path_factory.mktemp("p"), text, "thing/__init__.py")
    try:
        list(read_project(folder).files("3.13"))
    except InputError as error:
        assert error.code.startswith("python.")


FORCED = (
    PROJECT
    + """
[build-system]
build-backend = "hatchling.build"
[tool.hatch.build.targets.wheel]
packages = ["thing"]
[tool.hatch.build.targets.wheel.force-include]
boards = "thing/data/boards"
"Dockerfile.cross" = "thing/data/Dockerfile.cross"
"""
)


def test_what_hatchling_adds_is_laid_in_even_c_sources_that_are_data(tmp_path: Path) -> None:
    files = ("thing/__init__.py", "boards/pi4.yml", "boards/x/driver.c", "Dockerfile.cross")
    assert imported(project(tmp_path, FORCED, *files)) == [
        "thing/__init__.py", "thing/data/Dockerfile.cross", "thing/data/boards/pi4.yml",
        "thing/data/boards/x/driver.c",
    ]  # fmt: skip


def test_what_hatchling_would_add_must_be_there_and_inside(tmp_path: Path) -> None:
    folder = project(tmp_path, FORCED, "thing/__init__.py", "Dockerfile.cross")
    with pytest.raises(InputError, match="force-include names what is missing"):
        read_project(folder)
    (folder / "boards").symlink_to("/etc")
    with pytest.raises(InputError) as caught:
        read_project(folder)
    assert caught.value.code == "config.outside"
