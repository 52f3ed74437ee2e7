from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.debian.package import Package
from piimage.debian.request import Request
from piimage.errors import InputError
from piimage.lock import (
    Lock,
    LockedEnvironment,
    LockedImage,
    LockedRoot,
    LockedSuite,
    LockedWheel,
    changes,
    outgrown,
    outgrown_error,
    parse_lock,
    read_lock,
    render_lock,
)
from piimage.lock.roots import is_for_building
from piimage.store import Blob
from tests.examples import examples

SHA = "0123456789abcdef" * 4


def package(name: str, version: str = "1.10", sha256: str = SHA) -> Package:
    path = f"pool/main/{name[0]}/{name}/{name}_{version}_arm64.deb"
    return Package(name, version, "arm64", path, 1234, sha256, name, version, "trixie")


WHEEL = LockedWheel("smbus2", "0.6", "smbus2-0.6-py3-none-any.whl", 9, SHA)
LOCK = Lock(
    suites=(LockedSuite("trixie", ("main",), datetime(2026, 5, 17, 9, 15, 44, tzinfo=UTC), SHA),),
    roots=(
        LockedRoot("service/no", ("app=1.10",), (), "arm64", ("app:arm64",)),
        LockedRoot("system", ("app", "lib"), ("perl-base",), "arm64", ("app:arm64", "lib:arm64")),
    ),
    packages=(package("app"), package("lib", "1:2e5-1~x+y")),
    images=(
        LockedImage(
            "example.org:5000/x:1",
            f"sha256:{SHA}",
            f"sha256:{SHA[::-1]}",
            ("binds: /it's:/b", "capabilities: all", 'devices: {"path": "all"}'),
        ),
    ),
    environments=(
        LockedEnvironment(
            "container/x", ("smbus2>=0.6",), "arm64", "3.13", "2.41", (WHEEL.filename,)
        ),
    ),
    wheels=(WHEEL,),
)
TEXT = render_lock(LOCK)
REQUESTS = [
    Request("system", ("app", "lib"), ("perl-base",)),
    Request("service/no", ("app=1.10",)),
]


WRITTEN = f"""\
# Written by `piimage lock`: every input of a build, pinned. Paths are relative to the root of an
# archive, so any mirror will do. Keep this file under version control.
version: 1

suites:
  trixie:
    components: [main]
    date: "2026-05-17T09:15:44Z"
    sha256: "{SHA}"

roots:
  service/no:
    architecture: arm64
    asks: [app=1.10]
    without: []
    packages:
      - app:arm64

packages:
  app:arm64:
    version: "1.10"
    suite: trixie
    source: app
    source_version: "1.10"
    path: pool/main/a/app/app_1.10_arm64.deb
    size: 1234
    sha256: "{SHA}"

images:
  example.org:5000/x:1:
    digest: sha256:{SHA}
    manifest: sha256:{SHA[::-1]}
    granted:
      - "binds: /it's:/b"
      - "capabilities: all"
      - "devices: {{\\"path\\": \\"all\\"}}"

environments:
  container/x:
    architecture: arm64
    python: "3.13"
    glibc: "2.41"
    asks: ["smbus2>=0.6"]
    sources: [spidev==3.8]
    wheels: []

wheels:
  smbus2-0.6-py3-none-any.whl:
    name: smbus2
    version: "0.6"
    size: 9
    sha256: "{SHA}"
"""


def test_a_lock_is_written_exactly_so() -> None:
    """Locks are kept under version control: another way of writing would show as a change."""
    environment = replace(LOCK.environments[0], sources=("spidev==3.8",), wheels=())
    small = replace(
        LOCK, roots=LOCK.roots[:1], packages=LOCK.packages[:1], environments=(environment,)
    )
    assert render_lock(small) == WRITTEN


def test_a_lock_reads_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "pi.lock"
    path.write_text(TEXT)
    assert read_lock(path) == LOCK
    assert render_lock(read_lock(path)) == TEXT


def test_the_text_does_not_depend_on_the_order_of_the_parts() -> None:
    turned = replace(LOCK, packages=LOCK.packages[::-1], roots=LOCK.roots[::-1])
    assert render_lock(turned) == TEXT


def test_any_yaml_parser_reads_versions_as_text() -> None:
    data = yaml.safe_load(TEXT)
    assert data["packages"]["app:arm64"]["version"] == "1.10"
    assert data["packages"]["lib:arm64"]["version"] == "1:2e5-1~x+y"
    assert data["suites"]["trixie"]["date"] == "2026-05-17T09:15:44Z"
    assert list(data["roots"]) == ["service/no", "system"]


@pytest.mark.parametrize(
    "word",
    [
        *("y", "Y", "yes", "Yes", "YES", "n", "N", "no", "No", "NO", "true", "True", "TRUE"),
        *("false", "False", "FALSE", "on", "On", "ON", "off", "Off", "OFF"),
        *("null", "Null", "NULL", "~", "1.10", "1e5", "0x1f", "0o7", "1:20", ".inf", ".NaN", "-"),
    ],
)
def test_what_yaml_would_take_for_something_else_is_quoted(word: str) -> None:
    """The types bool, null, int and float of yaml.org/type, for YAML 1.1."""
    named = replace(LOCK, packages=(replace(package("app"), version=word, source=word),), roots=())
    text = render_lock(named)
    assert f'    version: "{word}"\n' in text
    assert f'    source: "{word}"\n' in text


def test_an_empty_lock_reads_back() -> None:
    assert parse_lock(render_lock(Lock()).encode(), "x") == Lock()


def test_the_packages_of_a_root_are_found() -> None:
    assert [found.name for found in LOCK.of_root("system")] == ["app", "lib"]
    assert LOCK.image("example.org:5000/x:1").manifest == f"sha256:{SHA[::-1]}"
    with pytest.raises(KeyError):
        LOCK.of_root("other")


def test_a_wheel_is_a_file_of_the_store_and_an_archive_is_built_first() -> None:
    assert WHEEL.blob == Blob(SHA, 9)
    assert not WHEEL.is_source
    assert replace(WHEEL, filename="spidev-3.8.tar.gz").is_source


def test_the_wheels_of_an_environment_come_in_its_order() -> None:
    other = replace(WHEEL, name="a", filename="a-1-py3-none-any.whl")
    environment = replace(LOCK.environments[0], wheels=(WHEEL.filename, other.filename))
    lock = replace(LOCK, environments=(environment,), wheels=(other, WHEEL))
    assert lock.wheels_of("container/x") == (WHEEL, other)
    with pytest.raises(KeyError):
        lock.wheels_of("container/y")


def test_what_only_builds_never_lands_on_a_card() -> None:
    """The names stand in locks that were written long ago."""
    building = ["toolchain", "toolchain/arm64", "toolchain-python/headers", "kernel-headers"]
    assert all(is_for_building(root) for root in [*building, "kernel-source"])
    others = ["system", "kernel", "kernel-headers/x", "service/toolchain", "container/x"]
    assert not any(is_for_building(root) for root in others)


def test_two_hundred_packages_are_read_in_little_time() -> None:
    many = replace(LOCK, packages=tuple(package(f"p{number}") for number in range(200)), roots=())
    text = render_lock(many)
    best = min(_seconds(lambda: parse_lock(text.encode(), "x")) for _ in range(5))
    assert best < 0.1  # 0.02 s on an idle machine


def _seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


@pytest.mark.provokes("lock.absent")
def test_a_missing_file_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run piimage lock"):
        read_lock(tmp_path / "pi.lock")


@pytest.mark.provokes("lock.syntax")
def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read") as caught:
        read_lock(tmp_path)
    assert caught.value.place == str(tmp_path)


def spot(text: str, expected: str) -> str:
    """Return line and column of `what` as an editor counts them."""
    before = text[: text.index(expected)]
    return f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


@pytest.mark.provokes("lock.field")
@pytest.mark.parametrize(
    ("old", "new", "at", "expected"),
    [
        (f'sha256: "{SHA}"', "sha256: abc", "abc", "a SHA-256"),
        ("size: 1234", "size: -1", "-1\n", "a number of bytes"),
        ("path: pool/main/a", "path: /pool/main/a", "/pool", "a relative path"),
        ("path: pool/main/a", "path: pool/../../a", "pool/..", "a relative path"),
        ("path: pool/main/a", "path: http://a.example/a", "http", "a relative path"),
        ("app:arm64:\n", "app:\n", "version: \"1.10\"\n    suite", "a key name:architecture"),
        ("app:arm64:\n", "':arm64':\n", "version: \"1.10\"\n    suite", "a key name:architecture"),
        ("app:arm64:\n", "'app:':\n", "version: \"1.10\"\n    suite", "a key name:architecture"),
        ("any.whl:\n", "any.zip:\n", "name: smbus2", "the file name of a wheel"),
        ("asks: [app, lib]", "asks: app", "app\n    without", "a list"),
        ("asks: [app, lib]", "asks: [app, [lib]]", "[lib]]", "a text"),
        ('date: "2026-05-17T09:15:44Z"', "date: yesterday", "yesterday", "a date"),
        (f"digest: sha256:{SHA}", "digest: md5:00", "md5", "a digest"),
        ("images:\n", "images: []\nx:\n", "[]\nx", "a mapping"),
        ("    suite: trixie\n", "", 'version: "1.10"', "a field suite"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_refused_where_it_stands(
    old: str, new: str, at: str, expected: str
) -> None:
    text = TEXT.replace(old, new, 1)
    assert text != TEXT
    with pytest.raises(InputError, match=expected) as caught:
        parse_lock(text.encode(), "pi.lock")
    assert caught.value.place == f"pi.lock:{spot(text, at)}"


@pytest.mark.provokes("lock.field")
@pytest.mark.parametrize("text", ["", "just text", "[1, 2]"])
def test_what_is_no_lock_at_all_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="a mapping"):
        parse_lock(text.encode(), "pi.lock")


@pytest.mark.provokes("lock.syntax")
@pytest.mark.parametrize(
    "text",
    [
        *("a: [", "a: b: c", "\t- x", "a: *b", "%YAML 9", "--- a\n--- b\n", "\0"),
        *("[" * 99_999, "{" * 99_999, "{a: " * 99_999),
    ],
)
def test_what_is_no_yaml_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"not YAML|the nesting is too deep"):
        parse_lock(text.encode(), "pi.lock")


@pytest.mark.provokes("lock.syntax")
@pytest.mark.parametrize(
    ("text", "place"),
    [("a: b: c", "x:1:5"), ("a:\n  b: c\n  d: *e\n", "x:3:6"), ("a: b\n\nc: [}\n", "x:3:5")],
)
def test_what_is_no_yaml_is_refused_where_it_stands(text: str, place: str) -> None:
    """Lines and columns as editors count them, from 1."""
    with pytest.raises(InputError) as caught:
        parse_lock(text.encode(), "x")
    assert caught.value.place == place


@pytest.mark.provokes("lock.syntax")
def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pi.lock").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not YAML"):
        read_lock(tmp_path / "pi.lock")


@pytest.mark.provokes("lock.version")
def test_a_lock_of_another_version_is_refused() -> None:
    with pytest.raises(InputError, match="does not have version 1"):
        parse_lock(TEXT.replace("version: 1\n", "version: 2\n", 1).encode(), "x")


@pytest.mark.provokes("lock.duplicate")
def test_a_key_that_stands_twice_is_refused() -> None:
    text = TEXT.replace("  lib:arm64:\n", "  app:arm64:\n")
    with pytest.raises(InputError, match="'app:arm64' is listed twice") as caught:
        parse_lock(text.encode(), "pi.lock")
    second = text.rindex("  app:arm64:\n") + len("  ")
    assert caught.value.code == "lock.duplicate"
    assert caught.value.place == f"pi.lock:{text[:second].count(chr(10)) + 1}:3"


@pytest.mark.provokes("lock.dangling")
@pytest.mark.parametrize(
    ("old", "new", "says", "at"),
    [
        ("- lib:arm64", "- gone:arm64", "system names gone:arm64", "arm64\n    asks: [app,"),
        ("- smbus2-", "- gone-", "container/x names gone-0.6", "arm64\n    python"),
    ],
)  # fmt: skip
def test_what_names_something_that_is_not_pinned_is_refused(
    old: str, new: str, says: str, at: str
) -> None:
    text = TEXT.replace(f"      {old}", f"      {new}", 1)
    with pytest.raises(InputError, match=says) as caught:
        parse_lock(text.encode(), "x")
    line = int(spot(text, at).partition(":")[0])
    assert caught.value.place == f"x:{line}:5"  # where what the name stands for begins


def test_what_moved_is_listed_line_by_line() -> None:
    new = replace(
        LOCK,
        packages=(package("app", "1.11", "ff" * 32), package("more")),
        images=(replace(LOCK.images[0], digest="sha256:" + "1" * 64),),
        wheels=(),
    )
    assert changes(LOCK, LOCK) == ()
    assert changes(LOCK, new) == (
        "~ app:arm64 1.10 [01234567] -> 1.11 [ffffffff]",
        "- lib:arm64 1:2e5-1~x+y [01234567]",
        "+ more:arm64 1.10 [01234567]",
        f"~ image example.org:5000/x:1 sha256:{SHA} -> sha256:{'1' * 64}",
        "- wheel smbus2 0.6 [01234567]",
    )


def test_two_versions_of_a_wheel_are_listed_together() -> None:
    older = replace(WHEEL, version="0.5", filename="smbus2-0.5-py3-none-any.whl", sha256="ff" * 32)
    assert changes(LOCK, replace(LOCK, wheels=(WHEEL, older))) == (
        "~ wheel smbus2 0.6 [01234567] -> 0.5 [ffffffff], 0.6 [01234567]",
    )


def test_a_container_that_comes_or_goes_is_listed_with_its_wheels() -> None:
    image, environment = "example.org:5000/x:1", LOCK.environments[0]
    lock = replace(LOCK, environments=(replace(environment, sources=("spidev==3.8",)),))
    lines = outgrown(lock, REQUESTS, [image], {"service/a": ("x>=1",)}, {"service/b": ("y==2",)})
    assert lines == (
        "- container/x: wheel smbus2>=0.6", "+ service/a: wheel x>=1",
        "- container/x: source spidev==3.8", "+ service/b: source y==2",
    )  # fmt: skip


def test_what_an_image_was_granted_is_listed_when_it_changes() -> None:
    image = replace(LOCK.images[0], granted=("capabilities: all", "pid: host"))
    assert changes(LOCK, replace(LOCK, images=(image,))) == (
        "- granted to example.org:5000/x:1: binds: /it's:/b",
        '- granted to example.org:5000/x:1: devices: {"path": "all"}',
        "+ granted to example.org:5000/x:1: pid: host",
    )


def test_a_lock_from_before_grants_were_recorded_has_none() -> None:
    text = TEXT[: TEXT.index("    granted:\n")] + TEXT[TEXT.index("\nenvironments") :]
    assert parse_lock(text.encode(), "x").images == (replace(LOCK.images[0], granted=()),)


def test_a_package_that_is_to_be_built_is_noticed() -> None:
    image, wheels = "example.org:5000/x:1", {"container/x": ("smbus2>=0.6",)}
    new = outgrown(LOCK, REQUESTS, [image], wheels, {"container/x": ("spidev==3.8",)})
    assert new == ("+ container/x: source spidev==3.8",)
    environment = replace(LOCK.environments[0], sources=("spidev==3.7",))
    old = parse_lock(render_lock(replace(LOCK, environments=(environment,))).encode(), "x")
    assert outgrown(old, REQUESTS, [image], wheels, {"container/x": ("spidev==3.8",)}) == (
        "+ container/x: source spidev==3.8", "- container/x: source spidev==3.7",
    )  # fmt: skip


@pytest.mark.provokes("lock.outgrown")
def test_a_request_that_outgrew_the_lock_is_shown_as_a_diff() -> None:
    image, wheels = "example.org:5000/x:1", {"container/x": ("smbus2>=0.6",)}
    assert outgrown(LOCK, REQUESTS, [image], wheels) == ()
    new = [Request("system", ("app", "new"), (), "amd64"), Request("service/yes", ("a", "b"))]
    lines = outgrown(LOCK, new, ["other"], {"container/x": ("smbus2>=0.7",)})
    assert lines == (
        "- service/no",
        "+ service/yes: a, b",
        "+ system: new",
        "- system: lib",
        "- system: without perl-base",
        "~ system: for arm64 -> for amd64",
        "+ image other",
        f"- image {image}",
        "+ container/x: wheel smbus2>=0.7",
        "- container/x: wheel smbus2>=0.6",
    )
    error = outgrown_error(lines, "pi.lock", "run piimage lock")
    assert "pi.lock: what is asked for is not what was locked:\n  - service/no\n" in str(error)
    assert error.exit_code == 2
    assert "piimage lock" in str(error)


@pytest.mark.parametrize(("count", "last"), [(8, "+ system: n07"), (9, "... and 1 more")])
def test_of_many_changes_the_first_eight_are_shown(count: int, last: str) -> None:
    asks = tuple(f"n{number:02}" for number in range(count))
    requests = [replace(REQUESTS[0], packages=("app", "lib", *asks)), REQUESTS[1]]
    image, wheels = "example.org:5000/x:1", {"container/x": ("smbus2>=0.6",)}
    error = outgrown_error(outgrown(LOCK, requests, [image], wheels), "x", "y")
    lines = error.message.split("\n  ")
    assert lines[1] == "+ system: n00"
    assert lines[8] == "+ system: n07"
    assert lines[-1] == last


@settings(max_examples=examples(60), deadline=None)
@given(
    place=st.integers(0, len(TEXT)), cut=st.integers(0, 30),
    insert=st.text(alphabet="ab:-[]{}\"'&*!#\n\t 09", max_size=6),
)  # fmt: skip
def test_an_edited_lock_is_read_or_refused(place: int, cut: int, insert: str) -> None:
    try:
        parse_lock((TEXT[:place] + insert + TEXT[place + cut :]).encode(), "pi.lock")
    except InputError as error:
        assert error.code.startswith("lock.")


@settings(max_examples=examples(60), deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_lock(text.encode(), "pi.lock")


NAMES = st.from_regex(r"[a-z0-9][a-z0-9+.-]{1,8}", fullmatch=True)


@settings(max_examples=examples(50), deadline=None)
@given(st.dictionaries(NAMES, st.from_regex(r"[0-9][0-9A-Za-z.+~:-]{0,8}", fullmatch=True)))
def test_any_names_and_versions_read_back(versions: dict[str, str]) -> None:
    made = (package(name, version) for name, version in versions.items())
    lock = Lock(packages=tuple(sorted(made, key=lambda found: found.key)))
    assert parse_lock(render_lock(lock).encode(), "x") == lock
    assert len(yaml.safe_load(render_lock(lock))["packages"]) == len(versions)
