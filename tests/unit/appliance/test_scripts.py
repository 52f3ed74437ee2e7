"""What holds for all scripts that land on the Pi."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from piimage import resources

APPLIANCE = resources.path("appliance")
_FIRST_LINES = (b"#!/bin/sh", b"#!/bin/busybox sh")
SCRIPTS = sorted(
    path
    for folder in (APPLIANCE, resources.path("services"))
    for path in folder.rglob("*")
    if path.suffix == ".sh" or (path.is_file() and path.read_bytes().startswith(_FIRST_LINES))
)
CLEAN = "piimage/shellcheck"
_FUNCTION = re.compile(
    r"^(\w+)\(\) [{(]((?: [^\n]*(?= [})]$))|\n.*?^(?=[})]))", re.MULTILINE | re.DOTALL
)
# Places where a variable gets a value: at the start of a command, by `for`, by `read`.
_ASSIGNED = re.compile(
    r"(?:^|[;&|({]|\b(?:do|then|else|if|elif|while|until)|IFS=\S*)\s*([A-Za-z_]\w*)=(?!=)"
    r"|\bfor (\w+) in\b",
    re.MULTILINE,
)
_READ = re.compile(r"\bread(?: -\w+(?: \d+)?)*((?: \w+)+)")
_LOCAL = re.compile(r"^\s*local (.*)$", re.MULTILINE)
_LOWER = re.compile(r"[a-z]\w*")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_parses_as_busybox_ash(script: Path) -> None:
    subprocess.run(["busybox", "sh", "-n", script], check=True)


def test_scripts_are_clean_for_shellcheck(pytestconfig: pytest.Config) -> None:
    """It takes seconds: the digest of what was clean is kept, as mypy and ruff keep theirs."""
    assert shutil.which("shellcheck"), "make setup installs shellcheck"
    command = ["shellcheck", "-s", "dash", "-x", "-P", "SCRIPTDIR", "-e", "SC2034", *SCRIPTS]
    version = subprocess.run(["shellcheck", "--version"], capture_output=True, check=True).stdout
    contents = [path.read_bytes() for path in SCRIPTS]
    digest = hashlib.sha256(repr((version, command, contents)).encode()).hexdigest()
    cache = getattr(pytestconfig, "cache", None)  # a run may have none
    if cache is not None and cache.get(CLEAN, None) == digest:
        return
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == ""
    if cache is not None:
        cache.set(CLEAN, digest)


def test_programs_of_the_system_can_be_executed() -> None:
    programs = APPLIANCE / "rootfs/usr/lib/piimage"
    modes = {path.name: path.stat().st_mode & 0o111 for path in programs.iterdir()}
    sourced = {"confine.sh", "container.sh", "containerd.sh", "lib.sh", "log.sh", "schedule.sh"}
    sourced |= {"try-flag.sh"}
    assert {name for name, mode in modes.items() if not mode} == sourced


def assigned(text: str) -> Iterator[str]:
    """Give the names in lower case that a piece of shell assigns to; `local` does not count."""
    text = _LOCAL.sub("", re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE))
    for match in _ASSIGNED.finditer(text):
        yield from filter(_LOWER.fullmatch, filter(None, match.groups()))
    for match in _READ.finditer(text):
        yield from filter(_LOWER.fullmatch, match[1].split())


def leaks(text: str) -> list[str]:
    """Return the names in lower case to which a script assigns without `local`."""
    found = []
    for match in _FUNCTION.finditer(text):
        own = {word.partition("=")[0] for line in _LOCAL.findall(match[2]) for word in line.split()}
        found += [f"{match[1]}: {name}" for name in assigned(match[2]) if name not in own]
    return [*found, *(f"outside: {name}" for name in assigned(_FUNCTION.sub("", text)))]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_variables_in_lower_case_are_local(script: Path) -> None:
    assert leaks(script.read_text()) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("f() {\n\ta=1\n}\n", ["f: a"]),
        ("f() {\n\tlocal a='' b\n\ta=1\n\tb=$a\n}\ng() { a=2; }\n", ["g: a"]),
        ("f() {\n\tfor a in 1 2; do\n\t\tread -r b c <x\n\tdone\n}\n", ["f: a", "f: b", "f: c"]),
        ("f() {\n\twhile IFS= read -r -n 5 line; do A=1; done\n}\n", ["f: line"]),
        ("f() {\n\t[ x ] || a=1\n\tif b=$(x); then echo c=1; fi\n}\n", ["f: a", "f: b"]),
        ("one=1\nA=2\nread -r _ REPLY\n", ["outside: one"]),
    ],
)
def test_the_check_of_variables_finds_what_it_is_for(text: str, found: list[str]) -> None:
    assert sorted(leaks(text)) == sorted(found)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_no_script_searches_or_edits_json(script: Path) -> None:
    """A text of the JSON could be taken for its structure."""
    code = re.sub(r"^\s*#.*$", "", script.read_text(), flags=re.MULTILINE)
    assert not re.search(r"\b(awk|jq)\b", code)
    assert not re.search(r"\b(sed|grep)\b[^\n]*(json|\\?\"\w+\\?\":)", code)
    assert not re.search(r"[#%]\*?['\"]+\w+\"+:", code)
