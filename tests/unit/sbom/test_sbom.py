from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.sbom import cyclonedx, licences, manifest, spdx
from piimage.sbom.manifest import Origin
from piimage.sbom.model import Component, Kind, bill
from tests.examples import examples

DIGEST = "ab" * 32
BUSYBOX = Component(
    Kind.DEBIAN,
    "busybox-static",
    "1:1.37.0-6+b3",
    DIGEST,
    "arm64",
    "busybox",
    "1:1.37.0-6",
    "pool/main/b/busybox/x.deb",
    "GPL-2.0-only",
    ("base",),
)
PARTS = (
    BUSYBOX,
    Component(Kind.IMAGE, "library/Redis", "7", "cd" * 32, "arm64", used_by=("redis",)),
    Component(Kind.WHEEL, "Paho_MQTT", "2.1.0", "ef" * 32, licence="EPL-2.0 OR BSD-3-Clause"),
    Component(Kind.FILE, "etc/motd", "0", "12" * 32, path="files/motd"),
)
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1)
COMPONENTS = st.builds(
    Component,
    st.sampled_from(Kind),
    TEXT,
    TEXT,
    st.binary(min_size=32, max_size=32).map(bytes.hex),
    st.none() | st.just("arm64"),
    st.none() | TEXT,
    st.none() | TEXT,
    st.none() | TEXT,
    st.sampled_from([None, "MIT", "GPL-2.0-or-later AND (MIT OR Zlib)"]),
    st.lists(TEXT, max_size=2).map(tuple),
)


def faults(data: bytes, folder: Path) -> list[str]:
    """Return the messages of the SPDX project's own validator."""
    from spdx_tools.spdx.parser.parse_anything import parse_file
    from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

    file = folder / "bill.spdx.json"
    file.write_bytes(data)
    return [m.validation_message for m in validate_full_spdx_document(parse_file(str(file)))]


def fault(text: str) -> object:
    """Return what the validator of the CycloneDX project refuses; to import it takes a second."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    return JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)


@pytest.mark.slow
def test_the_spdx_bill_is_valid(tmp_path: Path) -> None:
    assert faults(spdx.encode(bill("pi4", "one", PARTS), "0.1"), tmp_path) == []


def test_the_cyclonedx_bill_is_valid() -> None:
    text = cyclonedx.encode(bill("pi4", "one", PARTS), "0.1").decode()
    assert fault(text) is None


@settings(max_examples=examples(15), deadline=None)
@given(st.lists(COMPONENTS, max_size=5))
def test_any_parts_make_valid_bills(
    tmp_path_factory: pytest.TempPathFactory, parts: list[Component]
) -> None:
    made = bill("pi4", "one", parts)
    assert faults(spdx.encode(made, "0.1"), tmp_path_factory.mktemp("spdx")) == []
    text = cyclonedx.encode(made, "0.1").decode()
    assert fault(text) is None


# A digest identifies a part: equal digests have equal parts.
DISTINCT = st.lists(COMPONENTS, max_size=4, unique_by=lambda part: part.sha256)


@settings(max_examples=examples(30))
@given(DISTINCT.flatmap(lambda p: st.tuples(st.just(p), st.permutations(p))))
def test_the_order_of_parts_changes_nothing(
    orders: tuple[list[Component], list[Component]],
) -> None:
    first, second = (bill("pi4", "one", parts) for parts in orders)
    assert spdx.encode(first, "1") == spdx.encode(second, "1")
    assert cyclonedx.encode(first, "1") == cyclonedx.encode(second, "1")


def test_another_content_is_another_document() -> None:
    assert bill("pi4", "one", PARTS).id != bill("pi4", "two", PARTS).id


def test_a_part_in_two_places_comes_once() -> None:
    from dataclasses import replace

    made = bill("pi4", "one", [BUSYBOX, replace(BUSYBOX, used_by=("hello",))])
    assert [part.used_by for part in made.components] == [("base", "hello")]


@pytest.mark.parametrize(
    ("part", "purl"),
    [
        (PARTS[0], "pkg:deb/debian/busybox-static@1%3A1.37.0-6+b3?arch=arm64"),
        (PARTS[1], f"pkg:oci/redis@sha256%3A{'cd' * 32}"),
        (PARTS[2], "pkg:pypi/paho-mqtt@2.1.0"),
        (PARTS[3], f"pkg:generic/etc%2Fmotd@0?checksum=sha256:{'12' * 32}"),
    ],
)
def test_package_urls_have_the_registries_names(part: Component, purl: str) -> None:
    assert part.purl == purl


def copyright_of(*names: str) -> bytes:
    head = "Format: copyright-format/1.0\n\n"
    return (head + "\n".join(f"Files: *\nLicense: {name}\n text\n" for name in names)).encode()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["GPL-2+"], "GPL-2.0-or-later"),
        (["LGPL-2.1"], "LGPL-2.1-only"),
        (["Expat", "GPL-3"], "GPL-3.0-only AND MIT"),
        (["GPL-1+ or Artistic"], "GPL-1.0-or-later OR Artistic-1.0-Perl"),
        (["Expat or Zlib", "ISC"], "ISC AND (MIT OR Zlib)"),
        (["GPL-2 or Expat, and ISC"], "(GPL-2.0-only OR MIT) AND ISC"),
        (["Expat", "Expat"], "MIT"),
        (["Expat", "public-domain"], None),
        (["my-own"], None),
        ([], None),
    ],
)
def test_licences_of_a_copyright_file(names: list[str], expected: str | None) -> None:
    assert licences.expression(copyright_of(*names)) == expected


@given(st.binary(max_size=300))
def test_any_copyright_file_is_read(data: bytes) -> None:
    licences.expression(b"Format: x\nLicense: " + data)


def test_a_copyright_file_that_is_not_machine_readable_has_no_licence() -> None:
    assert licences.expression(b"This is free software.\nLicense: Expat\n") is None


def test_the_manifest_has_the_origin_of_each_file() -> None:
    origins = [Origin("b", 2, DIGEST, "file:b.txt"), Origin("a", 1, DIGEST, BUSYBOX.purl)]
    read = json.loads(manifest.encode(bill("pi4", "one", PARTS), origins, {"zstd": "1"}))
    assert list(read["files"]) == ["a", "b"]
    assert read["files"]["a"] == {"size": 1, "sha256": DIGEST, "from": BUSYBOX.purl}


def test_a_file_name_that_is_not_utf8_is_read_back() -> None:
    named = os.fsdecode(b"layers/x: /b\xff")
    text = manifest.encode(bill("pi4", "one", PARTS), [Origin(named, 1, DIGEST, "x")], {})
    assert b"/b\\udcff" in text
    (path,) = json.loads(text.decode("utf-8"))["files"]
    assert os.fsencode(path) == b"layers/x: /b\xff"
    odd = bill(os.fsdecode(b"n\xff"), "one", PARTS)
    assert b"n\\udcff" in spdx.encode(odd, "1").replace(b"%5C", b"\\")
    assert b"n\\udcff" in cyclonedx.encode(odd, "1")
