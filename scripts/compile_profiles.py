"""Compile the AppArmor profiles that piimage ships; run it when their source changes.

    .venv/bin/python scripts/compile_profiles.py

A build needs no parser for them, and their bytes depend on no host. `appliance/apparmor/features`
holds the features of Debian 13's kernel, which a test compares with those of the kernel that boots.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from piimage.compose.apparmor import PARSER, compile_profile
from piimage.container.apparmor import DEFAULT, DEFAULT_SYS, DOCKER
from piimage.run import Runner

FOLDER: Final = Path(__file__).parents[1] / "appliance" / "apparmor"
VERSION: Final = "3.0.8"
"""The version of the parser that has made the files: another one gives other bytes."""

_SYS_RULE: Final = "  deny /sys/** wkl,\n"
_SYS_RULES_OF_DOCKER: Final = "  deny /sys/[^f]** wkl,\n  deny /sys/fs/[^c]** wkl,\n"
"""A container of Docker's may have a control group of its own to write to."""


def sources() -> Mapping[str, str]:
    """Return the texts of the profiles by name; they differ in what is denied below /sys."""
    text = (FOLDER / f"{DEFAULT}.profile").read_text()
    if text.count(_SYS_RULE) != 1:
        raise SystemExit(f"{DEFAULT}.profile has not one line {_SYS_RULE.strip()!r}")
    rules = {DEFAULT: _SYS_RULE, DEFAULT_SYS: "", DOCKER: _SYS_RULES_OF_DOCKER}
    return {
        name: text.replace(_SYS_RULE, rule).replace(f"profile {DEFAULT} ", f"profile {name} ")
        for name, rule in rules.items()
    }


def compiled() -> Mapping[str, bytes]:
    """Return the compiled profiles by name."""
    made = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, text in sources().items():
            source = Path(folder) / name
            source.write_text(text)
            made[name] = compile_profile(Runner(), source, FOLDER / "features")
    return made


def parser_version() -> str:
    """Return the version of this host's parser."""
    lines = Runner().run([PARSER, "--config-file", "/dev/null", "--version"]).text.splitlines()
    return lines[0].rpartition(" ")[2]


def main() -> None:
    """Write the files."""
    found = parser_version()
    if found != VERSION:
        raise SystemExit(f"{PARSER} is {found}; change VERSION in this file along with the files")
    for name, data in compiled().items():
        (FOLDER / f"{name}.bin").write_bytes(data)


if __name__ == "__main__":
    main()
