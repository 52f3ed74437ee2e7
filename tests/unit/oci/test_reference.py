from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.errors import InputError
from piimage.oci.reference import Reference, parse
from tests.examples import examples

HASH_TAG = "8eea386739975a43af558eec757a7dcb3a3d2e7b"
DIGEST = "sha256:" + "a1" * 32


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("redis", Reference(None, "library/redis", "latest")),
        ("redis:7", Reference(None, "library/redis", "7")),
        (f"linuxkit/init:{HASH_TAG}", Reference(None, "linuxkit/init", HASH_TAG)),
        ("linuxkit/x:abc-dirty-123-arm64", Reference(None, "linuxkit/x", "abc-dirty-123-arm64")),
        ("localhost/x", Reference("localhost", "x", "latest")),
        ("localhost:5000/team/x:1.0", Reference("localhost:5000", "team/x", "1.0")),
        ("registry.example/x", Reference("registry.example", "x", "latest")),
        ("[::1]:5000/x", Reference("[::1]:5000", "x", "latest")),
        (f"redis@{DIGEST}", Reference(None, "library/redis", None, DIGEST)),
        (f"a.example/b:c@{DIGEST}", Reference("a.example", "b", "c", DIGEST)),
        ("a/b/c/d__e.f-g--h:T_.-", Reference(None, "a/b/c/d__e.f-g--h", "T_.-")),
        ("user/x:latest", Reference(None, "user/x", "latest")),
    ],
)  # fmt: skip
def test_a_reference_is_read_with_dockers_defaults(text: str, expected: Reference) -> None:
    assert parse(text) == expected


@pytest.mark.provokes("oci.reference")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the name is missing"),
        ("Redis", "has capital letters"),
        ("redis:", "is not a tag"),
        ("redis:-x", "is not a tag"),
        ("redis:" + "t" * 129, "is not a tag"),
        ("redis@sha256:12", "is not a digest"),
        ("redis@", "is not a digest"),
        ("redis@sha512:" + "a" * 128, "is not a digest"),
        ("a" * 64, "this is the ID of an image"),
        ("-a.example/x", "is not a registry"),
        ("a.example:99999999/x", "is not a registry"),
        ("x//y", "is not the name"),
        ("/x", "is not the name"),
        ("x y", "is not the name"),
        ("docker://x", "is not a registry"),
        ("x\n", "is not the name"),
        ("a.example/" + "n" * 260, "too long"),
    ],
)
def test_a_bad_reference_is_refused_by_its_part(text: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        parse(text, "pi4.yml:3:9")
    assert caught.value.place == "pi4.yml:3:9"
    assert caught.value.hint


def test_the_digest_alone_decides_a_transfer() -> None:
    assert parse(f"a.example/b:c@{DIGEST}").transport == f"a.example/b@{DIGEST}"
    assert parse("a.example/b").transport == "a.example/b:latest"


@settings(max_examples=examples(150))
@given(st.one_of(st.text(max_size=40), st.from_regex(r"[a-z0-9./:@_\[\]-]{0,40}", fullmatch=True)))
def test_what_is_read_reads_back_the_same(text: str) -> None:
    try:
        reference = parse(text)
    except InputError:
        return
    # A library/ name is complete: reading it again must not add to it.
    assert parse(str(reference)) == reference
