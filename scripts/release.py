"""The version and the notes of a release, from its tag.

python3 scripts/release.py version v1.2.0    writes the version into every pyproject.toml
python3 scripts/release.py notes v1.2.0      prints the section of CHANGELOG.md
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PROJECTS: Final = (".", "libraries/sensorkit", "libraries/chipmodels")
_TAG: Final = re.compile(r"v(\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?)")
_LINE: Final = re.compile(r'^version = "[^"]*"$', re.MULTILINE)


def version_of(tag: str) -> str:
    """Return the version (PEP 440) of a tag such as v1.2.0 or v1.2.0rc1; exit if it has none."""
    match = _TAG.fullmatch(tag)
    if match is None:
        sys.exit(f"release: {tag!r} is not a tag of a release, such as v1.2.0 or v1.2.0rc1")
    return match[1]


def set_version(root: Path, version: str) -> None:
    """Write `version` into the pyproject.toml of each project of the checkout `root`."""
    for project in PROJECTS:
        path = root / project / "pyproject.toml"
        text, count = _LINE.subn(f'version = "{version}"', path.read_text())
        if count != 1:
            sys.exit(f"release: {path} has {count} lines with a version, not 1")
        path.write_text(text)


def notes(changelog: str, version: str) -> str:
    """Return the section of `version`, without its heading; exit if there is none."""
    for section in re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]:
        heading, _, text = section.partition("\n")
        if heading.split()[:1] == [version]:
            return text.strip() + "\n"
    sys.exit(
        f"release: CHANGELOG.md has no section {version}: rename Unreleased to {version} - DATE"
    )


def main(words: list[str]) -> None:
    """Run the command line."""
    match words:
        case ["version", tag]:
            set_version(ROOT, version_of(tag))
        case ["notes", tag]:
            sys.stdout.write(notes((ROOT / "CHANGELOG.md").read_text(), version_of(tag)))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
