"""The options that say where inputs come from: the same for every verb that builds."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from piimage import events
from piimage.cli import main as cli
from piimage.cli.inputs import inputs_of
from piimage.cli.options import Origin
from piimage.debian import mirror
from piimage.locking.inputs import Inputs
from piimage.oci.registry import Access
from piimage.run import Runner
from piimage.store import Store
from tests.unit.syntax import nodes

SOURCES = {"--mirror", "--snapshot", "--keyring", "--offline", "--index", "--builder",
           "--insecure-registry", "--registry-certs", "--registry-auth"}  # fmt: skip
FETCHING = {"lock", "build", "run", "test", "flash", "deploy", "module build", "pkg build",
            "pkg push", "pkg manifest", "pkg show-tag", "bundle make", "sensors"}  # fmt: skip
REGISTRIES = {"--insecure-registry", "--registry-certs", "--registry-auth"}
WITHOUT_PACKAGES = {"cache pull", "cache push"}
PACKAGE = Path(cli.__file__).parents[1]


def commands() -> Iterator[tuple[str, Any]]:
    """Every command by its words, those of groups among them."""
    for verb in cli.VERBS:
        top: Any = cli.command(verb)
        parts = getattr(top, "commands", None)
        yield from (
            [(verb, top)]
            if parts is None
            else ((f"{verb} {name}", part) for name, part in parts.items())
        )


def options(command: Any) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts}


def test_a_verb_takes_every_source_or_none() -> None:
    taken = {name: options(command) & SOURCES for name, command in commands()}
    assert {name for name, some in taken.items() if some} == FETCHING | WITHOUT_PACKAGES
    assert all(taken[name] == REGISTRIES for name in WITHOUT_PACKAGES)
    assert {name: SOURCES - taken[name] for name in FETCHING if taken[name] != SOURCES} == {}


def test_inputs_are_opened_in_one_place() -> None:
    called = {
        str(path.relative_to(PACKAGE))
        for path, node in nodes(PACKAGE, "Inputs")
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Inputs"
    }
    # The page of drivers is made by hand, for Debian's kernels of the day.
    assert called == {"cli/inputs.py", "cli/driver_reference.py"}


def test_the_options_of_a_source_reach_it(tmp_path: Path) -> None:
    origin = Origin(
        "http://m", "http://s", Path("k"), False, "http://i", "b", ["h:1"], Path("c"), Path("a")
    )
    found = inputs_of(origin, Store(tmp_path), Runner(), events.ignore)
    assert (found.mirror, found.snapshot, found.keyring) == ("http://m", "http://s", Path("k"))
    assert (found.index, found.builder, found.offline) == ("http://i", "b", False)
    assert found.access == Access(frozenset({"h:1"}), Path("c"), Path("a"))


@pytest.mark.slow
def test_an_option_that_a_message_tells_to_use_is_there() -> None:
    known = {name for _, command in commands() for name in options(command)}
    known |= {"--setrw", "--index-url", "--output", "--sparse"}  # blockdev, pip, docker save, tar
    named = {
        (str(path.relative_to(PACKAGE)), word)
        for path, node in nodes(PACKAGE, "hint=")
        if isinstance(node, ast.keyword) and node.arg == "hint"
        for text in ast.walk(node.value)
        if isinstance(text, ast.Constant) and isinstance(text.value, str)
        for word in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text.value)
    }
    assert len(named) > 10
    assert {(file, word) for file, word in named if word not in known} == set()


@pytest.mark.provokes("debian.no-keyring")
def test_the_keyring_that_is_named_is_the_one_that_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIIMAGE_STORE", str(tmp_path / "store"))
    file = tmp_path / "a.yml"
    file.write_text("board: qemu-virt\n")
    missing = tmp_path / "none.gpg"
    assert cli.execute(["lock", str(file), "--offline", "--keyring", str(missing)]) == 1
    assert str(missing) in capsys.readouterr().err
    assert not file.with_suffix(".lock").exists()


def test_offline_does_not_ask_the_host_where_its_archive_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object) -> None:
        raise AssertionError("the host's sources were read")

    monkeypatch.setattr(mirror, "_of_host", read)
    store = Store(tmp_path)
    inputs = Inputs(store, Runner(), events.ignore, lambda: 0.0, offline=True)
    assert inputs.fetcher().mirrors is None
    with pytest.raises(AssertionError, match="were read"):
        Inputs(store, Runner(), events.ignore, lambda: 0.0).mirrors()
