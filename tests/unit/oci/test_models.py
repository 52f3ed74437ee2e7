from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.errors import PiimageError
from piimage.oci.models import (
    MAX_DOCUMENT,
    Descriptor,
    Execution,
    ImageConfig,
    Index,
    Manifest,
    decode,
    encode,
)
from tests.branches import QUICK, at_least
from tests.examples import examples

DIGEST = "sha256:" + "0" * 64
CONFIG = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": DIGEST, "size": 2}
MANIFEST = {"schemaVersion": 2, "config": CONFIG, "layers": [CONFIG]}


def test_a_manifest_is_read() -> None:
    manifest = decode(Manifest, json.dumps(MANIFEST).encode(), "x")
    assert manifest.config.blob.sha256 == "0" * 64
    assert manifest.layers[0].size == 2


def test_the_engines_own_configuration_names_are_read() -> None:
    config = decode(
        ImageConfig,
        b'{"os":"linux","architecture":"arm64","container_config":{},"config":{"Env":["A=b"],'
        b'"Cmd":null,"WorkingDir":"/w","ArgsEscaped":true},'
        b'"rootfs":{"type":"layers","diff_ids":["' + DIGEST.encode() + b'"]}}',
        "x",
    )
    assert config.execution == Execution(env=("A=b",), working_dir="/w")
    assert config.rootfs.diff_ids == (DIGEST,)


def test_encoding_is_the_same_whatever_the_order_and_leaves_out_what_is_not_set() -> None:
    first = Descriptor(media_type="a/b", digest=DIGEST, size=1, annotations={"b": "1", "a": "é"})
    second = Descriptor(media_type="a/b", digest=DIGEST, size=1, annotations={"a": "é", "b": "1"})
    assert encode(first) == encode(second)
    expected = f'{{"annotations":{{"a":"é","b":"1"}},"digest":"{DIGEST}",'
    assert encode(first).decode() == f'{expected}"mediaType":"a/b","size":1}}'


@pytest.mark.provokes("oci.document")
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"\xff\xfe",
        b'{"schemaVersion": 1}',
        b'{"x": NaN}',
        b'{"x": "\\ud800"}',
        b'{"x":' * 200 + b"1" + b"}" * 200,
        b"[" * 100_000,
        b'{"x": ' + b"9" * 5000 + b"}",
        b" " * (MAX_DOCUMENT + 1),
        json.dumps(MANIFEST | {"config": CONFIG | {"digest": "sha256:../../etc/passwd"}}).encode(),
        json.dumps(MANIFEST | {"config": CONFIG | {"digest": DIGEST + "\n"}}).encode(),
        json.dumps(MANIFEST | {"config": CONFIG | {"size": -1}}).encode(),
        json.dumps(MANIFEST | {"config": CONFIG | {"size": "2"}}).encode(),
        json.dumps(MANIFEST | {"config": CONFIG | {"size": 1 << 60}}).encode(),
        json.dumps(MANIFEST | {"config": CONFIG | {"mediaType": "text"}}).encode(),
        json.dumps(MANIFEST | {"layers": [CONFIG] * 501}).encode(),
        json.dumps(MANIFEST | {"schemaVersion": 3}).encode(),
    ],
    ids=lambda data: repr(data[:40]),
)
def test_a_damaged_document_is_refused_with_its_place(data: bytes) -> None:
    with pytest.raises(PiimageError) as caught:
        decode(Manifest, data, "the-image")
    assert caught.value.code == "oci.document"
    assert caught.value.place == "the-image"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["schemaVersion", "config", "layers", "manifests", "digest", "size", "mediaType",
                 "platform", "os", "rootfs", "diff_ids", "annotations", "subject", "Env"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)  # fmt: skip


GOOD: dict[type, dict[str, object]] = {
    Manifest: MANIFEST,
    Index: {"schemaVersion": 2, "manifests": [CONFIG]},
    ImageConfig: {
        "architecture": "arm64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [DIGEST]},
    },
}


@pytest.mark.slow
def test_any_json_is_read_or_refused() -> None:
    """Good documents with a field more or another value; what is read means the same again."""

    def run(ways: Counter[str]) -> None:
        @QUICK
        @given(
            st.sampled_from(sorted(GOOD, key=str)),
            st.sampled_from(["annotations", "config", "layers", "os", "rootfs", "new", "subject"]),
            JSON,
        )
        def any_json(kind: type[Manifest], key: str, value: object) -> None:
            try:
                document = decode(kind, json.dumps(GOOD[kind] | {key: value}).encode(), "fuzz")
            except PiimageError as error:
                assert error.code == "oci.document"
                ways["refused"] += 1
                return
            assert decode(kind, encode(document), "again") == document
            ways["read"] += 1

        any_json()

    at_least({"refused": 15, "read": 15}, run)


@settings(max_examples=examples(100))
@given(st.data())
def test_a_manifest_with_one_part_replaced_is_read_or_refused(data: st.DataObject) -> None:
    fields = json.loads(json.dumps(MANIFEST))
    target = data.draw(st.sampled_from([fields, fields["config"], fields["layers"][0]]))
    target[data.draw(st.sampled_from(sorted(target)))] = data.draw(JSON)
    try:
        decode(Manifest, json.dumps(fields).encode(), "fuzz")
    except PiimageError as error:
        assert error.code == "oci.document"
