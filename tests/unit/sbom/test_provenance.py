"""Provenance read back as plain JSON, against the fields that SLSA v1.0 demands."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

from piimage.debian.package import Package
from piimage.lock import Lock, LockedImage, LockedRoot, LockedWheel
from piimage.sbom.provenance import SLSA_PREDICATE, Build, provenance, statement

PACKAGE = Package(
    name="busybox-static", version="1:1.37.0-6", architecture="arm64",
    path="pool/b/busybox.deb", size=5, sha256="1" * 64, source="busybox",
    source_version="1:1.37.0-6", suite="trixie",
)  # fmt: skip
LOCK = Lock(
    roots=(LockedRoot("toolchain", (), (), "amd64", (PACKAGE.key,)),),
    packages=(PACKAGE,),
    images=(LockedImage("r.test:5000/a/base:1", f"sha256:{'2' * 64}", f"sha256:{'3' * 64}"),),
    wheels=(LockedWheel("paho", "2.1", "paho-2.1-py3-none-any.whl", 9, "4" * 64),),
)
BUILD = Build("thermo", "a" * 40, "Dockerfile", "linux/arm64/v8", LOCK, {"TOKEN": "s3cret"})


def test_every_pin_is_a_dependency_with_its_digest_also_those_for_building_only() -> None:
    made: Any = provenance(BUILD, "9")
    found = {
        d["uri"]: d["digest"]["sha256"] for d in made["buildDefinition"]["resolvedDependencies"]
    }
    assert found == {
        "pkg:deb/debian/busybox-static@1%3A1.37.0-6?arch=arm64": "1" * 64,
        f"pkg:oci/base@sha256%3A{'2' * 64}": "2" * 64,
        "pkg:pypi/paho@2.1": "4" * 64,
    }


def test_a_pin_that_two_platforms_share_is_one_dependency() -> None:
    twice = replace(LOCK, wheels=(*LOCK.wheels, *LOCK.wheels))
    made: Any = provenance(replace(BUILD, lock=twice), "9")
    assert len(made["buildDefinition"]["resolvedDependencies"]) == 3


def test_the_values_of_arguments_are_digests() -> None:
    text = json.dumps(provenance(BUILD, "9"))
    assert "s3cret" not in text
    assert hashlib.sha256(b"s3cret").hexdigest() in text


def test_a_statement_has_what_the_specifications_demand() -> None:
    made = json.loads(
        statement("thermo", f"sha256:{'5' * 64}", SLSA_PREDICATE, provenance(BUILD, "9"))
    )
    assert made["_type"] == "https://in-toto.io/Statement/v1"
    assert made["subject"] == [{"name": "thermo", "digest": {"sha256": "5" * 64}}]
    predicate = made["predicate"]
    assert predicate["buildDefinition"]["buildType"].startswith("urn:")
    assert predicate["runDetails"]["builder"]["id"].startswith("urn:")
    assert predicate["runDetails"]["builder"]["version"] == {"piimage": "9"}
    assert "metadata" not in predicate["runDetails"]  # a time would change the bytes
