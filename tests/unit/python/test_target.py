from __future__ import annotations

import itertools

import pytest

from piimage.debian.package import Package
from piimage.errors import InputError
from piimage.python.target import Target, target_of

TARGET = Target(13, 41)


def package(name: str, version: str) -> Package:
    return Package(name, version, "arm64", "pool/x", 1, "0" * 64, name, version, "trixie")


def test_the_target_is_read_from_the_containers_packages() -> None:
    packages = [package("python3.13-minimal", "3.13.5-2"), package("libc6", "2.41-12+deb13u5")]
    found = target_of(packages, "service.yml")
    assert (found.python, found.glibc, found.platform) == ("3.13", 41, "aarch64-manylinux_2_40")


@pytest.mark.provokes("python.no-python")
@pytest.mark.parametrize("names", [[], ["libc6"], ["python3.13-minimal"], ["python3-minimal"]])
def test_a_container_without_python_is_refused(names: list[str]) -> None:
    with pytest.raises(InputError, match="no Python") as caught:
        target_of([package(name, "2.41-1") for name in names], "x/service.yml")
    assert caught.value.place == "x/service.yml"


@pytest.mark.parametrize(
    "tags",
    [
        "py3-none-any", "py2.py3-none-any", "cp313-cp313-manylinux2014_aarch64",
        "cp313-cp313-manylinux_2_17_aarch64.manylinux_2_28_aarch64", "cp39-abi3-linux_aarch64",
        "cp313-none-any", "cp313-cp313-manylinux_2_41_aarch64",
    ],
)  # fmt: skip
def test_wheels_that_run_there_fit(tags: str) -> None:
    TARGET.require_fit(f"thing-1.0-{tags}.whl")


@pytest.mark.provokes("python.wheel-unfit")
@pytest.mark.parametrize(
    "tags",
    [
        "cp313-cp313-manylinux2014_x86_64", "cp313-cp313-musllinux_1_2_aarch64",
        "cp312-cp312-manylinux2014_aarch64", "cp313-cp313t-manylinux2014_aarch64",
        "cp313-cp313-manylinux_2_42_aarch64", "cp314-none-any", "cp313-cp313-macosx_11_0_arm64",
        "py2-none-any", "cp314-abi3-linux_aarch64", "cp313-cp313-linux_armv7l",
    ],
)  # fmt: skip
def test_wheels_that_do_not_run_there_are_refused(tags: str) -> None:
    with pytest.raises(InputError, match="is not compatible"):
        TARGET.require_fit(f"thing-1.0-{tags}.whl")


@pytest.mark.provokes("python.wheel-unfit")
def test_what_is_no_wheel_does_not_fit() -> None:
    with pytest.raises(InputError, match="is not compatible"):
        TARGET.require_fit("thing.tar.gz")


def test_of_wheels_that_fit_the_most_specific_is_preferred() -> None:
    # The order in which pip 25 takes them: its `pip debug --verbose` lists the tags.
    tags = [
        "cp313-cp313-manylinux_2_17_aarch64.manylinux_2_28_aarch64",
        "cp313-cp313-manylinux2014_aarch64",
        "cp37-abi3-manylinux_2_28_aarch64",
        "cp313-none-any",
        "py3-none-any",
    ]
    names = [f"thing-1.0-{tag}.whl" for tag in tags]
    keys = list(map(TARGET.preference, names))
    assert all(key < following for key, following in itertools.pairwise(keys)), keys


def test_of_wheels_with_one_tag_the_last_build_is_preferred() -> None:
    names = [f"thing-1.0{build}-py3-none-any.whl" for build in ("-10", "-9", "")]
    keys = list(map(TARGET.preference, names))
    assert all(key < following for key, following in itertools.pairwise(keys)), keys
