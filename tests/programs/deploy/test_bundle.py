"""Bundles: signed, deterministic, read by cpio and SWUpdate, and refused when anything differs."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest

from piimage import swu
from piimage.deploy import bundle
from piimage.errors import InputError, PiimageError
from piimage.run import Runner
from piimage.store import Store
from tests.unit.deploy import bundles
from tests.unit.signing_keys import Pair, pair

RUNNER = Runner()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    folder = tmp_path_factory.mktemp("keys")
    return {name: pair(folder, name) for name in ("ours", "other")}


@pytest.fixture
def made(keys: dict[str, Pair], tmp_path: Path) -> Path:
    return bundles.written(bundles.bundle(keys["ours"].signer), tmp_path / "greenhouse.swu")


def checked(path: Path, key: Pair, folder: Path) -> swu.Description:
    return bundle.verify(path, key.certificate, RUNNER, Store(folder / "store"))


def test_the_same_version_gives_the_same_bytes(keys: dict[str, Pair], made: Path) -> None:
    again = b"".join(bundles.bundle(keys["ours"].signer).chunks())
    assert again == made.read_bytes()


def test_a_bundle_says_what_it_is_for(keys: dict[str, Pair], made: Path, tmp_path: Path) -> None:
    found = checked(made, keys["ours"], tmp_path)
    assert (found.board, found.name, found.order) == ("qemu-virt", "greenhouse", (1, 1764374400))
    identity = bundles.digest(bundles.manifest())[:12]
    assert found.version == f"1.1764374400.0+{identity}"
    assert [part.name for part in found.parts] == [
        "layers", "recipe-2", "recipe-2.cms", "recipe-3", "recipe-3.cms",
        "f0",
    ]  # fmt: skip


def test_every_part_lies_where_the_description_has_it(made: Path) -> None:
    data = made.read_bytes()
    head = swu.Reader(io.BytesIO(data)).head()
    found = swu.parse_description(head.text)
    for name, at in swu.places(found, head.end).items():
        part = found.part(name)
        assert part is not None
        assert bundles.digest(data[at : at + part.size]) == part.sha256


def test_cpio_finds_the_parts_and_their_sums(made: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        ["cpio", "--extract", "--only-verify-crc", "--verbose"], input=made.read_bytes(),
        capture_output=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    names = done.stderr.decode().split("\n")[:-2]
    assert names[:3] == ["sw-description", "sw-description.sig", "layers"]
    assert not [line for line in names if "checksum" in line]


def test_swupdate_itself_accepts_the_bundle_by_our_key_only(
    keys: dict[str, Pair], made: Path
) -> None:
    for name, accepted in (("ours", True), ("other", False)):
        done = subprocess.run(
            ["swupdate", "-c", "-i", made, "-k", keys[name].certificate,
             "-H", "qemu-virt:greenhouse"], capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert ("SWUPDATE successful" in done.stdout + done.stderr) is accepted


@pytest.mark.provokes("bundle.unsigned")
def test_a_bundle_of_another_key_is_refused(
    keys: dict[str, Pair], made: Path, tmp_path: Path
) -> None:
    with pytest.raises(PiimageError, match="has signed this bundle") as caught:
        checked(made, keys["other"], tmp_path)
    assert caught.value.code == "bundle.unsigned"


def changed(made: Path, old: bytes, new: bytes) -> Path:
    data = made.read_bytes()
    assert len(old) == len(new) and old in data
    made.write_bytes(data.replace(old, new, 1))
    return made


def test_a_description_that_was_changed_is_not_signed(
    keys: dict[str, Pair], made: Path, tmp_path: Path
) -> None:
    path = changed(made, b'"1.1764374400.0', b'"9.1764374400.0')
    with pytest.raises(PiimageError, match=r"sum of an entry|has signed this bundle"):
        checked(path, keys["ours"], tmp_path)


@pytest.mark.provokes("bundle.damaged")
@pytest.mark.parametrize("place", ["recipe of A", "layer", "end", "more", "short", "tail"])
def test_a_part_that_was_changed_is_named(
    keys: dict[str, Pair], made: Path, tmp_path: Path, place: str
) -> None:
    data = made.read_bytes()
    other = {
        "recipe of A": data.replace(b"recipe of A", b"recipe of C"),
        "layer": data.replace(bundles.LAYER[:32], bundles.LAYER[1:33], 1),
        "end": data.replace(b"TRAILER!!!", b"another!!!"),
        "more": data + b"x",
        "short": data[: len(data) // 2],
        "tail": data + bytes(10_000),
    }[place]
    made.write_bytes(other)
    with pytest.raises(PiimageError) as caught:
        checked(made, keys["ours"], tmp_path)
    assert caught.value.code == "bundle.damaged"
    assert caught.value.place == str(made)


def test_a_bundle_for_folders_names_them_and_the_boot_firmware_that_they_share(
    keys: dict[str, Pair],
) -> None:
    recipes = {"a/": b"recipe of a", "b/": b"recipe of b"}
    firmware = {"start.elf": "2" * 64, "bootcode.bin": "1" * 64}
    signer = keys["ours"].signer
    made = bundles.bundle(signer, recipes=recipes, firmware=firmware)
    assert [part.name for part in made.description.parts] == [
        "layers", "firmware", "recipe-a", "recipe-a.cms", "recipe-b", "recipe-b.cms", "f0",
    ]  # fmt: skip
    lines = f"{'1' * 64} bootcode.bin\n{'2' * 64} start.elf\n".encode()
    assert lines in b"".join(made.chunks())
    any_other = bundles.bundle(signer, recipes=recipes, firmware={})
    part = any_other.description.part("firmware")
    assert part is not None and part.size == 0


@pytest.mark.provokes("bundle.board")
def test_a_board_that_servers_cannot_name_is_refused(keys: dict[str, Pair]) -> None:
    with pytest.raises(InputError, match="cannot name a board"):
        bundles.bundle(keys["ours"].signer, manifest=bundles.manifest(board="3rd"))


def test_names_that_could_leave_their_quotes_are_made_plain(keys: dict[str, Pair]) -> None:
    made = bundles.bundle(keys["ours"].signer, name='a"; b\n', note="\\ß.yml")
    found = swu.parse_description(swu.describe(made.description))
    assert (found.name, found.note) == ("a_; b_", "__.yml")


def test_versions_that_differ_in_their_containers_alone_have_one_system() -> None:
    def of(**files: str) -> str:
        found = {"kernel": "6.12", "system": ["c" * 64], "files": {**bundles.FIRMWARE, **files}}
        return swu.system_digest(found)

    assert of() == of(**{"initramfs.img": "1", "layers/x.squashfs": "2"})
    assert of() != of(**{"cmdline.txt": "1"})
