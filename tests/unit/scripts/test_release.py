"""The version and the notes of a release."""

from __future__ import annotations

from pathlib import Path

import pytest
import release

CHANGELOG = """\
# Changelog

## Unreleased

## 1.2.0 - 2026-11-29

### Added
- This.

## 1.2.0rc1

Only a try.
"""


@pytest.mark.parametrize(("tag", "version"), [("v1.2.0", "1.2.0"), ("v10.0.3rc2", "10.0.3rc2")])
def test_a_tag_gives_a_version(tag: str, version: str) -> None:
    assert release.version_of(tag) == version


@pytest.mark.parametrize("tag", ["1.2.0", "v1.2", "main", "v1.2.0-dirty", "v1.2.0\n"])
def test_another_name_is_refused(tag: str) -> None:
    with pytest.raises(SystemExit, match="is not a tag of a release"):
        release.version_of(tag)


def test_the_notes_are_the_section_of_that_version() -> None:
    assert release.notes(CHANGELOG, "1.2.0") == "### Added\n- This.\n"
    assert release.notes(CHANGELOG, "1.2.0rc1") == "Only a try.\n"
    with pytest.raises(SystemExit, match=r"no section 1\.3\.0: rename Unreleased"):
        release.notes(CHANGELOG, "1.3.0")


def test_each_project_gets_the_version(tmp_path: Path) -> None:
    for project in release.PROJECTS:
        (tmp_path / project).mkdir(parents=True, exist_ok=True)
        text = (release.ROOT / project / "pyproject.toml").read_text()
        (tmp_path / project / "pyproject.toml").write_text(text)
    release.set_version(tmp_path, "9.8.7")
    for project in release.PROJECTS:
        assert '\nversion = "9.8.7"\n' in (tmp_path / project / "pyproject.toml").read_text()


def test_a_file_without_a_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    with pytest.raises(SystemExit, match="0 lines with a version"):
        release.set_version(tmp_path, "1.0.0")
