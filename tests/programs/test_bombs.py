"""Memory stays bounded for every hostile input: measured in a process of its own."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import pytest

from tests.unit import bombs

MOST = 100_000_000
ADDRESSES = 2 << 30  # a fault fails the test instead of exhausting the machine


def measure(names: list[str]) -> dict[str, tuple[str, int]]:
    def confined() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))

    argv = [sys.executable, "-m", "tests.unit.bombs", *names]
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=True, preexec_fn=confined)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {name: (code, size) for name, code, size in lines}


REFUSED = {
    "a pax header of 7 GiB": "trees.too-long",
    "a global pax header of 7 GiB": "trees.too-long",
    "a long name of 7 GiB": "trees.too-long",
    "a long link of 7 GiB": "trees.too-long",
    "pax headers without an end": "trees.too-long",
    "a layer with one deep path": "trees.too-long",
    "a layer with the deepest paths": "trees.too-many",
    "a layer with the longest names": "trees.too-many",
    "a layer with long links": "trees.too-many",
    "a layer with attributes": "trees.too-many",
    "a sparse memory of 3 GiB": "trees.sparse",
    "a sparse blob of 4 GiB": "trees.sparse",
    "a memory of 4 GiB": "cache.foreign-entry",
    "a sparse control file": "debian.deb-damaged",
    "a long control file": "debian.deb-bomb",
    "a long payload": "debian.deb-bomb",
    "an index without an end": "debian.index-damaged",
    "a gzipped index without an end": "debian.index-damaged",
    "a wheel that lists what it has not": "python.wheel-damaged",
    "a wheel with long fields": "python.wheel-damaged",
}


@pytest.fixture(scope="module")
def quick() -> dict[str, tuple[str, int]]:
    return measure(sorted(REFUSED))


def test_every_bomb_is_tried(quick: dict[str, tuple[str, int]]) -> None:
    assert REFUSED.keys() == bombs.BOMBS.keys() - bombs.SLOW
    assert quick.keys() == REFUSED.keys()


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_bomb_is_refused_in_little_memory(quick: dict[str, tuple[str, int]], name: str) -> None:
    code, size = quick[name]
    assert code == REFUSED[name]
    assert size < MOST
