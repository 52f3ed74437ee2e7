"""How YAML is read, merged, filled and set."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.config.load import load, load_folder
from piimage.document.document import parse_document, read_document
from piimage.errors import InputError, PiimageError
from tests.examples import examples


def data_of(text: str) -> dict[str, object]:
    document, errors = parse_document(text.encode(), "a.yml")
    assert errors == []
    return document.data()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("true", True), ("False", False), ("yes", "yes"), ("no", "no"), ("on", "on"), ("12", 12),
        ("-3", -3), ("0x1F", 31), ("0o17", 15), ("0644", "0644"), ("1.10", "1.10"), ("1e3", "1e3"),
        ("22:22", "22:22"), ("2026-11-23", "2026-11-23"), ("'12'", "12"), ('"true"', "true"),
        ("!!str 12", "12"), ("99999999999999999999", "99999999999999999999"), ("'~'", "~"),
    ],
)  # fmt: skip
def test_scalars_mean_what_yaml_1_2_says_and_fractions_stay_text(
    written: str, meant: object
) -> None:
    value = data_of(f"a: {written}")["a"]
    assert value == meant
    assert isinstance(value, type(meant))


@pytest.mark.parametrize("written", ["", "~", "null", "# only this"])
def test_a_key_without_a_value_counts_as_absent(written: str) -> None:
    assert data_of(f"a: {written}\nb: 1") == {"b": 1}


@pytest.mark.parametrize("text", ["", "# nothing", "---", "null", "{}"])
def test_an_empty_file_says_nothing(text: str) -> None:
    assert data_of(text) == {}


def test_anchors_and_merge_keys_work_and_do_not_override() -> None:
    text = "base: &b {x: 1, y: 2}\nmore: &m {z: 3}\nc: {<<: [*b, *m], y: 9}\nd: *b"
    assert data_of(text)["c"] == {"x": 1, "y": 9, "z": 3}
    assert data_of(text)["d"] == {"x": 1, "y": 2}


def test_utf16_is_read() -> None:
    document, errors = parse_document("a: ü".encode("utf-16"), "a.yml")
    assert (document.data(), errors) == ({"a": "ü"}, [])


def merged(tmp_path: Path, *texts: str, sets: tuple[str, ...] = ()) -> dict[str, object]:
    files = [tmp_path / f"{number}.yml" for number in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    document, errors = read_document(files, sets, {})
    assert errors == []
    return document.data()


def test_scalars_override_lists_append_mappings_merge(tmp_path: Path) -> None:
    first = "hostname: a\nservices: [{name: a}]\nboot: {config: {x: 1, y: 2}, cmdline: [q]}"
    second = "hostname: b\nservices: [{name: b}]\nboot: {config: {y: 3}, cmdline: [r]}\nfiles: []"
    assert merged(tmp_path, first, second) == {
        "hostname": "b",
        "services": [{"name": "a"}, {"name": "b"}],
        "boot": {"config": {"x": 1, "y": 3}, "cmdline": ["q", "r"]},
        "files": [],
    }


def test_an_empty_file_changes_nothing_and_null_takes_back(tmp_path: Path) -> None:
    assert merged(tmp_path, "a: 1\nb: 2", "", "a: ~") == {"b": 2}


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("hostname=x", ("hostname",), "x"),
        ("new.key.here=1", ("new", "key", "here"), 1),
        ("services.b.env=[A=1, B=2]", ("services", 1, "env"), ["A=1", "B=2"]),
        ("services.0.image=x:1", ("services", 0, "image"), "x:1"),
        (r"services.a.binds\.add=[]", ("services", 0, "binds.add"), []),
        ("hostname='12'", ("hostname",), "12"),
        ("hostname=a=b", ("hostname",), "a=b"),
        ("services=[]", ("services",), []),
    ],
)
def test_set_replaces_one_value(
    tmp_path: Path, setting: str, path: tuple[str | int, ...], value: object
) -> None:
    data: object = merged(
        tmp_path, "hostname: a\nservices: [{name: a}, {name: b}]", sets=(setting,)
    )
    for part in path:
        data = data[part]  # type: ignore[index]
    assert data == value


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIf28zgCxMFQAAteRedlUZTydCxSlcegi76+cp8HY90y me@home"
VARIABLES = {"NAME": "x", "EMPTY": "", "lower": "y", "NUMBER": "7", "TRICK": "a: [b, ${NAME}"}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("${NAME}", "x"), ("a${NAME}b${lower}", "axby"), ("${NONE:-d}", "d"), ("${EMPTY:-d}", "d"),
        ("${EMPTY}-", "-"), ("'${NONE:-}'", ""), ("${NUMBER}", 7), ("'${NUMBER}'", "7"),
        ("$NAME", "$NAME"), ("$$", "$$"), ("$${NAME}", "${NAME}"), ("${NONE:-http://a:1/b}", "http://a:1/b"),
        ("${TRICK}", "a: [b, ${NAME}"), ("|\n  echo $${NAME} $${x}\n", "echo ${NAME} $${x}\n"),
        ("${HOME}", "${HOME}"), ("'${NAMES} ${a b} ${ ${'", "${NAMES} ${a b} ${ ${"),
        ("${x:-y} ${#NAME}", "${x:-y} ${#NAME}"),
    ],
)  # fmt: skip
def test_variables_stand_in_values(tmp_path: Path, written: str, meant: object) -> None:
    (tmp_path / "a.yml").write_text(
        f"variables: [NAME, EMPTY, lower, NUMBER, NONE, TRICK]\na: {written}"
    )
    document, errors = read_document([tmp_path / "a.yml"], (), {**VARIABLES, "HOME": "/root"})
    assert (document.data()["a"], errors) == (meant, [])


SHELL = r"""
  d=${HOME}/data
  n=${SVC_NAME:-fallback}
  echo "${PATH}" $${x} ${ ${a b} ${1%%.*} ${#n} ${!n}
"""


def test_a_file_that_lists_no_variables_is_text_whoever_reads_it(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(f"a: |{SHELL}b: ${{HOME}}")
    document, errors = read_document([tmp_path / "a.yml"], (), {"HOME": "/root", "PATH": "/bin"})
    lines = [line[2:] for line in SHELL.strip("\n").splitlines()]
    assert document.data() == {"a": "".join(f"{line}\n" for line in lines), "b": "${HOME}"}
    assert errors == []


def test_each_file_s_list_holds_for_that_file_alone(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("variables: [A]\na: ${A}${B}")
    (tmp_path / "b.yml").write_text("variables: [B]\nb: ${A}${B}")
    (tmp_path / "c.yml").write_text("c: ${A}${B}")
    files = [tmp_path / f"{name}.yml" for name in "abc"]
    data = read_document(files, ["d='${A}'"], {"A": "1", "B": "2"})[0].data()
    assert {key: data[key] for key in "abcd"} == {
        "a": "1${B}", "b": "${A}2", "c": "${A}${B}", "d": "${A}",
    }  # fmt: skip


def test_a_container_folder_s_file_is_text(tmp_path: Path) -> None:
    (tmp_path / "service.yml").write_text("name: a\nfiles: [{path: x, contents: '${HOME}'}]")
    assert load_folder(tmp_path).files[0].contents == "${HOME}"


def test_set_gives_variables_in_capitals_and_wins_over_the_environment(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("variables: [NAME]\nhostname: ${NAME}")
    assert load([tmp_path / "a.yml"], ["NAME=z"], VARIABLES).hostname == "z"


def test_paths_start_at_the_file_that_says_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "here.txt").write_text("")
    (tmp_path / "sub" / "there.txt").write_text("")
    (tmp_path / "sub" / "Dockerfile").write_text("")
    (tmp_path / "key.pub").write_text(KEY)
    (tmp_path / "a.yml").write_text(
        f"files: [{{path: a, source: here.txt}}]\nssh: {{authorized_keys: [~/key.pub, {KEY}]}}"
    )
    (tmp_path / "sub" / "b.yml").write_text(
        "files: [{path: b, source: there.txt}]\nservices: [{name: c, image: '@pkg:.'}]"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir("/")
    appliance = load([tmp_path / "a.yml", tmp_path / "sub" / "b.yml"])
    sources = [file.source for file in appliance.files]
    assert sources == [str(tmp_path / "here.txt"), str(tmp_path / "sub" / "there.txt")]
    assert appliance.ssh.authorized_keys == (str(tmp_path / "key.pub"), KEY)
    (service,) = appliance.services
    assert (service.image, service.folder) == (None, tmp_path / "sub")


# Random bytes and structures ----------------------------------------------------------------

SYNTAX = r"""a: b - [ ] { } , & * ! | > ' " % @ ` # ? << ${X} ${ $${ --- ... \ ~ ü 0x1 &a *a"""
KEYS = """
services onboot name image build use packages after health http tcp command restart policy backoff
files path contents source mode boot config overlays cmdline modules params data size mount network
wifi ssid country ethernet address resources memory limit devices env runtime interfaces bindNS test
checks run volumes binds capabilities board uid
"""
SECTIONS = "services onboot files boot modules data network test volumes kernel ssh log slots board"
PIECES = [*SYNTAX.split(), *(f"{key}:" for key in KEYS.split()), "\n", "\n  ", "\t", "\0"]
FRAGMENTS = st.lists(st.sampled_from(PIECES), max_size=30)


@settings(max_examples=examples(150), deadline=None)
@given(st.one_of(st.binary(max_size=200), FRAGMENTS.map(lambda parts: " ".join(parts).encode())))
def test_any_bytes_are_read_or_refused_never_a_traceback(data: bytes) -> None:
    document, errors = parse_document(data, "a.yml")
    assert all(isinstance(error, InputError) and error.place for error in errors)
    document.data()


def near_miss() -> st.SearchStrategy[object]:
    """Structures made of the file's own words, so that every branch of the models is reached."""
    words = st.sampled_from(KEYS.split())
    scalars = st.one_of(
        st.none(), st.booleans(), st.integers(-5, 2**40), words, st.text(max_size=8),
        st.sampled_from(["1s..60s", "/dev/i2c-1", "../x", "~nobody/x", "CAP_CHOWN", "64M", "a\0b"]),
    )  # fmt: skip
    return st.recursive(
        scalars,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=4)
        ),
        max_leaves=12,
    )


@pytest.mark.slow
@settings(max_examples=examples(150), deadline=None)
@given(structure=st.dictionaries(st.sampled_from(SECTIONS.split()), near_miss(), max_size=4))
def test_any_structure_is_loaded_or_refused_with_places(
    tmp_path_factory: pytest.TempPathFactory, structure: dict[str, object]
) -> None:
    file = tmp_path_factory.getbasetemp() / f"fuzz-{os.getpid()}.yml"
    file.write_text(yaml.safe_dump(structure, allow_unicode=True))
    try:
        load([file])
    except PiimageError as error:
        lines = str(error.message).splitlines() if hasattr(error, "errors") else [str(error)]
        assert all(line for line in lines)
        assert error.exit_code == 2
        for fault in getattr(error, "errors", (error,)):
            assert fault.place
            assert fault.place.startswith(f"{file}:"), fault
            assert fault.hint


@settings(max_examples=examples(50), deadline=None)
@given(st.lists(st.text(max_size=12), max_size=3))
def test_any_set_is_applied_or_refused(texts: list[str]) -> None:
    _, errors = read_document([], texts, {})
    assert all(
        error.code in ("config.set", "config.bad-variable", "config.unset-variable")
        for error in errors
    )


def test_loading_is_quick(tmp_path: Path) -> None:
    """A file of a thousand services takes seconds at worst, so nothing is quadratic."""
    file = tmp_path / "a.yml"
    entries = "".join(
        f"  - {{name: s{n}, image: x, after: [s{n - 1}], env: [A=1]}}\n" for n in range(1, 1000)
    )
    file.write_text(f"services:\n  - {{name: s0, image: x}}\n{entries}")
    begin = time.process_time()
    load([file])
    assert time.process_time() - begin < 10
