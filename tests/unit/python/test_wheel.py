from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.errors import PiimageError
from piimage.python.wheel import Wheel, launcher, scripts
from piimage.trees import Entry, Kind
from tests.examples import examples

from .wheels import INFO, METADATA, NAME, WHEEL, digest, recorded, wheel

SITE = "usr/local/lib/python3.13/dist-packages"
ELF_X86 = b"\x7fELF\x02\x01\x01" + bytes(11) + b"\x3e\x00"
ELF_ARM = b"\x7fELF\x02\x01\x01" + bytes(11) + b"\xb7\x00"


def laid(path: Path, name: str = NAME) -> dict[str, tuple[bytes, int]]:
    found: dict[str, tuple[bytes, int]] = {}
    for entry in Wheel(path, name, "3.13").entries():
        assert entry.kind is Kind.FILE
        found[entry.path] = (b"".join(entry.content()), entry.mode)
    return found


def test_packages_lie_where_debians_pip_puts_them(tmp_path: Path) -> None:
    found = laid(wheel(tmp_path, {"thing/__init__.py": b"x = 1\n"}))
    assert found[f"{SITE}/thing/__init__.py"] == (b"x = 1\n", 0o644)
    assert found[f"{SITE}/{INFO}/INSTALLER"][0] == b"piimage\n"


def test_every_scheme_of_data_has_its_place(tmp_path: Path) -> None:
    data = "thing-1.0.data"
    files = {
        f"{data}/purelib/pure.py": b"", f"{data}/platlib/plat.so": ELF_ARM,
        f"{data}/scripts/tool": b"#!python\nprint()\n", f"{data}/scripts/native": ELF_ARM,
        f"{data}/headers/thing.h": b"", f"{data}/data/share/thing/x": b"",
    }  # fmt: skip
    found = laid(wheel(tmp_path, files))
    assert {f"{SITE}/pure.py", f"{SITE}/plat.so"} < set(found)
    assert found["usr/local/bin/tool"] == (b"#!/usr/bin/python3\nprint()\n", 0o755)
    assert found["usr/local/bin/native"] == (ELF_ARM, 0o755)
    assert {"usr/local/include/python3.13/thing/thing.h", "usr/local/share/thing/x"} < set(found)


def test_a_program_calls_its_function_by_an_interpreter_of_fixed_path(tmp_path: Path) -> None:
    points = b"[console_scripts]\nThing = thing.app:main.run [extra]\n[other]\nx = y\n"
    found = laid(wheel(tmp_path, {f"{INFO}/entry_points.txt": points}))
    text, mode = found["usr/local/bin/Thing"]
    assert mode == 0o755
    assert text.decode().splitlines()[:4] == [
        "#!/usr/bin/python3", "import sys", "", "from thing.app import main",
    ]  # fmt: skip
    assert b"sys.exit(main.run())" in text
    compile(text, "Thing", "exec")


def test_the_record_lists_all_files_with_what_they_have(tmp_path: Path) -> None:
    points = b"[console_scripts]\nthing = thing:main\n"
    found = laid(wheel(tmp_path, {"thing.py": b"1\n", f"{INFO}/entry_points.txt": points}))
    rows = list(csv.reader(io.StringIO(found[f"{SITE}/{INFO}/RECORD"][0].decode())))
    listed = {path: (listed_digest, size) for path, listed_digest, size in rows}
    assert listed[f"{INFO}/RECORD"] == ("", "")
    assert len(listed) == len(found)
    for path, (data, _) in found.items():
        relative = path.removeprefix(f"{SITE}/").replace("usr/local/", "../../../")
        if not path.endswith("/RECORD"):
            assert listed[relative] == (digest(data), str(len(data)))


def test_programs_of_the_archive_stay_programs(tmp_path: Path) -> None:
    found = laid(wheel(tmp_path, {"thing/run.sh": b""}, modes={"thing/run.sh": 0o100755}))
    assert found[f"{SITE}/thing/run.sh"][1] == 0o755


def test_two_readings_give_the_same(tmp_path: Path) -> None:
    path = wheel(tmp_path, {f"thing/{n}.py": str(n).encode() for n in range(20)})
    assert list(laid(path).items()) == list(laid(path).items())


HOSTILE = {
    "leaves": {"../evil.py": b""},
    "absolute": {"/etc/evil": b""},
    "backslash": {"thing\\..\\evil": b""},
    "other data": {"other-1.0.data/scripts/x": b""},
    "unknown scheme": {"thing-1.0.data/system/x": b""},
    "script elsewhere": {"thing-1.0.data/scripts/../../../etc/x": b""},
    "script in a folder": {"thing-1.0.data/scripts/a/b": b""},
    "two infos": {"other-1.0.dist-info/METADATA": b""},
    "format of the future": {f"{INFO}/WHEEL": b"Wheel-Version: 2.0\n"},
    "program elsewhere": {f"{INFO}/entry_points.txt": b"[console_scripts]\n../x = a:b\n"},
    "program that is code": {f"{INFO}/entry_points.txt": b"[console_scripts]\nx = a:b();c\n"},
    "program without function": {f"{INFO}/entry_points.txt": b"[gui_scripts]\nx = a\n"},
    "another machine": {"thing/native.so": ELF_X86},
}  # fmt: skip


@pytest.mark.provokes("python.wheel-damaged")
@pytest.mark.parametrize("files", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_wheel_is_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    with pytest.raises(PiimageError) as caught:
        laid(wheel(tmp_path, files))
    assert caught.value.place == NAME


@pytest.mark.provokes("python.wheel-damaged")
@pytest.mark.parametrize(
    ("record", "why"),
    [
        (b"", "does not list"),
        (
            recorded({f"{INFO}/METADATA": METADATA, f"{INFO}/WHEEL": WHEEL, "thing.py": b"no"}),
            "does not match its digest in RECORD",
        ),
        (b"thing.py,,\n", "no digest of|does not list"),
        (b"thing.py,md5=x,1\n", "no digest of|does not list"),
        (b"a,b\n", "three fields"),
        (b"\xff\xfe", "codec"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(tmp_path: Path, record: bytes, why: str) -> None:
    with pytest.raises(PiimageError, match=why):
        laid(wheel(tmp_path, {"thing.py": b"x"}, record=record))


@pytest.mark.provokes("python.wheel-damaged")
@pytest.mark.parametrize("mode", [0o120777, 0o020666, 0o010644])
def test_links_and_devices_are_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(PiimageError, match="not a regular file"):
        laid(wheel(tmp_path, {"thing/x": b"/etc/shadow"}, modes={"thing/x": mode}))


@pytest.mark.provokes("python.wheel-damaged")
def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = wheel(tmp_path, {"thing/zeros": bytes(1 << 20)})
    data = bytearray(path.read_bytes())
    # The central directory says four gibibytes.
    at = data.rindex(b"thing/zeros") - 46 + 24
    data[at : at + 4] = (0xFFFF_FFF0).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(PiimageError, match="too many files or bytes"):
        laid(path)


@pytest.mark.provokes("python.wheel-damaged")
def test_a_file_that_is_shorter_than_the_archive_says_is_refused(tmp_path: Path) -> None:
    path = wheel(tmp_path, {"thing/short": b"short"})
    data = bytearray(path.read_bytes())
    at = data.rindex(b"thing/short") - 46 + 24
    data[at : at + 4] = (50).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(PiimageError, match="has 5 bytes, not the stated 50"):
        laid(path)


@pytest.mark.provokes("python.wheel-damaged")
def test_a_file_that_comes_twice_is_refused(tmp_path: Path) -> None:
    path = wheel(tmp_path, {"thing.py": b""})
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("thing.py", b"")
    with pytest.raises(PiimageError, match="twice"):
        laid(path)


@pytest.mark.provokes("python.wheel-damaged")
def test_a_wheel_of_another_distribution_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PiimageError, match="is not of other 1"):
        laid(wheel(tmp_path, name="other-1.0-py3-none-any.whl"), "other-1.0-py3-none-any.whl")


def test_programs_keep_the_case_of_their_names() -> None:
    assert scripts("[console_scripts]\nA-b.c = m.n:f.g\n") == {"A-b.c": "m.n:f.g"}
    assert launcher("m:f").endswith(b"sys.exit(f())\n")


def read_or_refused(path: Path) -> None:
    try:
        entries: list[Entry] = []
        for entry in Wheel(path, NAME, "3.13").entries():
            assert entry.path.startswith("usr/local/")
            assert ".." not in entry.path.split("/")
            assert sum(map(len, entry.content())) == entry.size
            entries.append(entry)
        assert len({entry.path for entry in entries}) <= len(entries)
    except PiimageError as error:
        assert error.code in {"python.wheel-damaged"}


@settings(max_examples=examples(150))
@given(data=st.data())
def test_an_altered_wheel_is_read_or_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    path = wheel(folder, {"thing/a.py": b"a = 1\n" * 50, "thing-1.0.data/scripts/s": b"#!python\n"})
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    del raw[data.draw(st.integers(len(raw) // 2, len(raw))) :]
    path.write_bytes(raw)
    read_or_refused(path)


NAMES = st.text(st.sampled_from("ab./\\\0-_~ \n日"), max_size=12)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@settings(max_examples=examples(100))
@given(
    files=st.dictionaries(NAMES, st.binary(max_size=20), max_size=4), points=st.text(max_size=40)
)
def test_any_names_and_programs_are_laid_in_or_refused(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], points: str
) -> None:
    named = {name: data for name, data in files.items() if name and not name.endswith("/")}
    text = f"[console_scripts]\n{points}".encode("utf-8", "replace")
    path = wheel(tmp_path_factory.mktemp("any"), {**named, f"{INFO}/entry_points.txt": text})
    read_or_refused(path)
