from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.errors import InputError
from piimage.oci.dockerfile import base_images, pin_images
from tests.examples import examples

FILE = """# syntax=docker/dockerfile:1
ARG BASE=debian:trixie
ARG TAG
FROM --platform=$BUILDPLATFORM ${BASE} AS build
RUN echo \\
    # a comment inside
    FROM not-an-image
RUN <<EOF
FROM neither
EOF
FROM python:${TAG:-3.13} as Runtime
COPY --from=build /a /b
COPY --chown=1:2 --from=busybox:1 /bin/busybox /bin/
COPY --from=0 /c /d
FROM runtime
FROM scratch
"""


def test_the_images_of_a_dockerfile_are_found() -> None:
    assert base_images(FILE, {}, "x") == ("debian:trixie", "python:3.13", "busybox:1")


def test_build_arguments_replace_defaults() -> None:
    found = base_images(FILE, {"BASE": "alpine", "TAG": "3.12"}, "x")
    assert found == ("alpine", "python:3.12", "busybox:1")


def test_only_the_images_are_replaced() -> None:
    pinned = pin_images(FILE, {}, lambda image: f"<{image}>", "x").splitlines()
    lines = zip(FILE.splitlines(), pinned, strict=True)
    assert [new for old, new in lines if old != new] == [
        "FROM --platform=$BUILDPLATFORM <debian:trixie> AS build",
        "FROM <python:3.13> as Runtime",
        "COPY --chown=1:2 --from=<busybox:1> /bin/busybox /bin/",
    ]


@pytest.mark.provokes("oci.dockerfile")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it has no FROM"),
        ("RUN true\n", "it has no FROM"),
        ("ARG X\nFROM $X\n", "uses a variable without a value"),
        ("#" * (1 << 21), "it is too large"),
    ],
)
def test_a_file_that_cannot_be_pinned_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        base_images(text, {}, "Dockerfile")


PIECES = ["FROM a", "FROM b AS c", "FROM $X", "\\", "\n", "RUN <<E", "E", "COPY --from=c", " ",
          "ARG X=1", "#", "<<", "'"]  # fmt: skip


@settings(max_examples=examples(150))
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=4)).map("".join))
def test_any_text_is_read_or_refused_and_kept(text: str) -> None:
    try:
        pinned = pin_images(text, {}, lambda image: image, "x")
    except InputError as error:
        assert error.code == "oci.dockerfile"
        return
    assert len(pinned.splitlines()) == len(text.splitlines())
