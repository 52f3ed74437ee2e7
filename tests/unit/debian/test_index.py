from __future__ import annotations

import lzma
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from piimage import events
from piimage.debian import catalogue
from piimage.debian.index import Archive, Index, Suite
from piimage.errors import InputError, PiimageError
from piimage.store import Store
from tests.unit.debian.makers import NOW, ArchiveFolder, Deb

TRIXIE = Suite("trixie")


def names(indexes: tuple[Index, ...]) -> list[str]:
    names: list[str] = []
    for index in indexes:
        for part in index.catalogues:
            with closing(part.read()) as reader:
                names += reader.names("")
    return names


def kept(store: Store) -> list[Path]:
    return [path for path in store.root.rglob("*") if path.is_file() and "locks" not in path.parts]


@pytest.mark.parametrize("by_hash", [True, False])
@pytest.mark.parametrize("compression", [".xz", ".gz", ""])
def test_the_packages_of_a_suite_are_listed(
    archive: Archive, folder: ArchiveFolder, by_hash: bool, compression: str
) -> None:
    debs = [Deb("hello"), Deb("world", architecture="all")]
    folder.publish(debs, by_hash=by_hash, compression=compression)
    (index,) = archive.indexes([TRIXIE], ["arm64"])
    with closing(index.catalogues[0].read()) as reader:
        (row,) = reader.named("hello")
    hello = Deb("hello").package()
    assert row[:8] == (hello.name, hello.version, hello.architecture, hello.path, hello.size,
                       hello.sha256, hello.source, hello.source_version)  # fmt: skip
    assert names((index,)) == ["hello", "world"]


def test_each_architecture_has_its_own_index(archive: Archive, folder: ArchiveFolder) -> None:
    debs = [Deb("hello"), Deb("tool", architecture="amd64")]
    folder.publish(debs, architectures=("arm64", "amd64"))
    indexes = archive.indexes([TRIXIE], ["arm64", "amd64"])
    assert [(index.architecture, names((index,))) for index in indexes] == [
        ("arm64", ["hello"]),
        ("amd64", ["tool"]),
    ]


def test_an_unchanged_index_is_not_fetched_again(archive: Archive, folder: ArchiveFolder) -> None:
    folder.publish([Deb("hello")])
    archive.indexes([TRIXIE], ["arm64"])
    for file in folder.root.rglob("by-hash/SHA256/*"):
        file.unlink()
    assert names(archive.indexes([TRIXIE], ["arm64"])) == ["hello"]


def test_a_mirror_without_by_hash_folders_is_usable(
    archive: Archive, folder: ArchiveFolder
) -> None:
    folder.publish([Deb("hello")])
    (file,) = folder.root.rglob("by-hash/SHA256/*")
    file.rename(folder.root / "dists/trixie/main/binary-arm64/Packages.xz")
    assert names(archive.indexes([TRIXIE], ["arm64"])) == ["hello"]


@pytest.mark.provokes("debian.not-stored")
def test_offline_only_the_store_is_used(archive: Archive, folder: ArchiveFolder) -> None:
    offline = replace(archive, mirrors=None)
    with pytest.raises(PiimageError, match="without --offline"):
        offline.indexes([TRIXIE], ["arm64"])
    folder.publish([Deb("hello")], architectures=("arm64", "amd64"))
    archive.indexes([TRIXIE], ["arm64"])
    folder.release().unlink()
    assert names(offline.indexes([TRIXIE], ["arm64"])) == ["hello"]
    with pytest.raises(PiimageError, match=r"the store does not have .*amd64"):
        offline.indexes([TRIXIE], ["amd64"])


def test_offline_an_expired_index_gives_a_warning(archive: Archive, folder: ArchiveFolder) -> None:
    folder.publish([Deb("hello")])
    archive.indexes([TRIXIE], ["arm64"])
    emitted: list[events.Event] = []
    later = (NOW + timedelta(days=30)).timestamp
    replace(archive, mirrors=None, now=later, emit=emitted.append).indexes([TRIXIE], ["arm64"])
    assert any(isinstance(event, events.Warning) for event in emitted)


def alter_release(folder: ArchiveFolder) -> None:
    folder.release().write_bytes(folder.release().read_bytes().replace(b"Origin: T", b"Origin: X"))


def unsign(folder: ArchiveFolder) -> None:
    folder.release().write_bytes(b"Suite: stable\nCodename: trixie\n")


def alter_packages(folder: ArchiveFolder) -> None:
    (file,) = folder.root.rglob("by-hash/SHA256/*")
    file.write_bytes(lzma.compress(b"Package: evil\n"))


def lengthen_packages(folder: ArchiveFolder) -> None:
    (file,) = folder.root.rglob("by-hash/SHA256/*")
    file.write_bytes(file.read_bytes() + bytes(100))


def remove_packages(folder: ArchiveFolder) -> None:
    (file,) = folder.root.rglob("by-hash/SHA256/*")
    file.unlink()


def expire(folder: ArchiveFolder) -> None:
    folder.publish([Deb("hello")], valid_until=NOW - timedelta(seconds=1))


def date_ahead(folder: ArchiveFolder) -> None:
    folder.publish([Deb("hello")], date=NOW + timedelta(days=3))


def swap_suites(folder: ArchiveFolder) -> None:
    folder.publish([Deb("hello")], codename="bookworm")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        pytest.param(
            alter_release,
            "debian.index-signature",
            marks=pytest.mark.provokes("debian.index-signature"),
        ),
        pytest.param(
            unsign, "debian.index-unsigned", marks=pytest.mark.provokes("debian.index-unsigned")
        ),
        pytest.param(
            alter_packages,
            "debian.index-altered",
            marks=pytest.mark.provokes("debian.index-altered"),
        ),
        pytest.param(
            lengthen_packages,
            "debian.index-altered",
            marks=pytest.mark.provokes("debian.index-altered"),
        ),
        pytest.param(
            remove_packages, "debian.not-found", marks=pytest.mark.provokes("debian.not-found")
        ),
        pytest.param(
            expire, "debian.index-expired", marks=pytest.mark.provokes("debian.index-expired")
        ),
        pytest.param(
            date_ahead, "debian.index-future", marks=pytest.mark.provokes("debian.index-future")
        ),
        pytest.param(
            swap_suites, "debian.index-suite", marks=pytest.mark.provokes("debian.index-suite")
        ),
    ],
)
def test_a_spoilt_index_is_refused_and_not_kept(
    archive: Archive, folder: ArchiveFolder, spoil: Callable[[ArchiveFolder], None], code: str
) -> None:
    folder.publish([Deb("hello")])
    spoil(folder)
    with pytest.raises(PiimageError) as caught:
        archive.indexes([TRIXIE], ["arm64"])
    assert caught.value.code == code
    assert kept(archive.store) == []


@pytest.mark.parametrize(("more", "code"), [(0, "debian.index-unsigned"), (1, "debian.too-big")])
def test_a_release_of_more_than_four_megabytes_is_not_read(
    archive: Archive, folder: ArchiveFolder, more: int, code: str
) -> None:
    folder.release().parent.mkdir(parents=True)
    folder.release().write_bytes(bytes(4 * 1024 * 1024 + more))
    with pytest.raises(PiimageError) as caught:
        archive.indexes([TRIXIE], ["arm64"])
    assert caught.value.code == code


@pytest.mark.provokes("debian.index-altered")
def test_an_index_that_does_not_end_is_not_fetched_to_its_end(
    archive: Archive, folder: ArchiveFolder
) -> None:
    folder.publish([Deb("hello")])
    lengthen_packages(folder)
    emitted: list[events.Event] = []
    with pytest.raises(PiimageError, match=r"it has more than \d+ bytes"):
        replace(archive, emit=emitted.append).indexes([TRIXIE], ["arm64"])
    assert emitted == []


def test_progress_is_told_by_the_bytes_of_the_index(
    archive: Archive, folder: ArchiveFolder
) -> None:
    folder.publish([Deb("hello")])
    emitted: list[events.Event] = []
    replace(archive, emit=emitted.append).indexes([TRIXIE], ["arm64"])
    (file,) = folder.root.rglob("by-hash/SHA256/*")
    size = file.stat().st_size
    title = "fetch the index of trixie"
    assert emitted == [events.Progress("debian-indexes", title, size, size)]


@pytest.mark.parametrize(
    ("priority", "rank"),
    [("required", 0), ("important", 1), ("standard", 2), ("optional", 3), ("extra", 4), ("x", 5)],
)
def test_priorities_are_those_of_the_policy(priority: str, rank: int) -> None:
    """Policy 2.5, and extra, which it deprecates."""
    assert catalogue.priority_rank(priority) == rank


@pytest.mark.parametrize("size", [0, 1 << 40])
def test_sizes_at_the_limits_are_taken(archive: Archive, folder: ArchiveFolder, size: int) -> None:
    deb = Deb("a")
    text = deb.stanza.replace(f"Size: {len(deb.content)}\n", f"Size: {size}\n")
    folder.publish([], packages=text)
    (index,) = archive.indexes([TRIXIE], ["arm64"])
    with closing(index.catalogues[0].read()) as reader:
        (row,) = reader.named("a")
    assert (row.size, row.priority) == (size, 3)


def test_a_paragraph_has_at_most_four_megabytes() -> None:
    assert list(catalogue._paragraphs([b"x" * (4 << 20)])) == [b"x" * (4 << 20)]
    with pytest.raises(ValueError, match="a paragraph has more than 4194304 bytes"):
        list(catalogue._paragraphs([b"x" * (4 << 20), b"x"]))


@pytest.mark.provokes("debian.index-rollback")
def test_an_older_index_than_the_stored_one_is_refused(
    archive: Archive, folder: ArchiveFolder
) -> None:
    folder.publish([Deb("hello", "2.0")])
    archive.indexes([TRIXIE], ["arm64"])
    folder.publish([Deb("hello", "1.0")], date=NOW - timedelta(hours=2))
    with pytest.raises(PiimageError, match="older than"):
        archive.indexes([TRIXIE], ["arm64"])
    offline = replace(archive, mirrors=None).indexes([TRIXIE], ["arm64"])
    with closing(offline[0].catalogues[0].read()) as reader:
        assert [row.version for row in reader.named("hello")] == ["2.0"]


UNSIGNED = [
    pytest.param(b"Date: Thu, 01 Jan 1970 00:00:00 UTC\n", id="an early date"),
    pytest.param(b"Date: Fri, 01 Jan 2100 00:00:00 UTC\n", id="a date in the far future"),
    pytest.param(b"Date: Someday\n", id="an invalid date"),
    pytest.param(b"Date: \xff\n", id="bytes that are not text"),
]


@pytest.mark.slow
@pytest.mark.provokes("debian.index-rollback")
@pytest.mark.parametrize("line", UNSIGNED)
def test_an_unsigned_line_does_not_change_the_date(
    archive: Archive, folder: ArchiveFolder, line: bytes
) -> None:
    folder.publish([Deb("hello", "2.0")])
    folder.release().write_bytes(line + folder.release().read_bytes() + line)
    archive.indexes([TRIXIE], ["arm64"])
    assert not any(line in file.read_bytes() for file in kept(archive.store))
    folder.publish([Deb("hello", "1.0")], date=NOW - timedelta(hours=2))
    with pytest.raises(PiimageError, match="older than"):
        archive.indexes([TRIXIE], ["arm64"])
    folder.publish([Deb("hello", "3.0")], date=NOW - timedelta(minutes=30))
    assert names(archive.indexes([TRIXIE], ["arm64"])) == ["hello"]


@pytest.mark.provokes("debian.not-stored")
def test_offline_an_index_counts_only_for_the_keyring_that_verified_it(
    archive: Archive, folder: ArchiveFolder, tmp_path: Path
) -> None:
    folder.publish([Deb("hello")])
    archive.indexes([TRIXIE], ["arm64"])
    other = tmp_path / "other.gpg"
    other.write_bytes(b"other keys")
    with pytest.raises(PiimageError, match="that this keyring has verified"):
        replace(archive, mirrors=None, keyring=other).indexes([TRIXIE], ["arm64"])


@pytest.mark.provokes("debian.index-rollback")
def test_the_later_of_the_locked_and_the_stored_date_counts(
    archive: Archive, folder: ArchiveFolder
) -> None:
    folder.publish([Deb("hello")])
    archive.indexes([TRIXIE], ["arm64"])
    folder.publish([Deb("hello")], date=NOW - timedelta(hours=2))
    early = {"trixie": NOW - timedelta(hours=3)}
    with pytest.raises(PiimageError, match="older than the known index of 2026-05-17 11:00"):
        archive.indexes([TRIXIE], ["arm64"], early)


@pytest.mark.provokes("debian.index-rollback")
def test_an_older_index_than_the_locked_one_is_refused(
    archive: Archive, folder: ArchiveFolder
) -> None:
    folder.publish([Deb("hello")])
    with pytest.raises(PiimageError, match="older than"):
        archive.indexes([TRIXIE], ["arm64"], {"trixie": NOW})
    assert kept(archive.store) == []


@pytest.mark.provokes("debian.no-such-component", "debian.no-such-architecture")
def test_an_unknown_component_or_architecture_is_refused_with_the_known_ones(
    archive: Archive, folder: ArchiveFolder
) -> None:
    folder.publish([Deb("hello")])
    with pytest.raises(InputError, match="its components are main"):
        archive.indexes([Suite("trixie", ("nonfree",))], ["arm64"])
    with pytest.raises(InputError, match="its architectures are arm64"):
        archive.indexes([TRIXIE], ["amd64"])


@pytest.mark.provokes("debian.index-damaged")
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Package: a\nVersion: 1\n", "no field Filename"),
        (Deb("a").stanza.replace("SHA256: ", "SHA256: x"), "digest or path"),
        (Deb("a").stanza.replace("Filename: ", "Filename: ../"), "digest or path"),
        (Deb("a").stanza.replace("Filename: ", "Filename: /"), "digest or path"),
        (Deb("a").stanza.replace("Size: ", "Size: x"), "invalid literal"),
        (Deb("a").stanza.replace("Size: ", "Size: 99999999999999999"), "the invalid size 9999"),
        (Deb("a").stanza.replace("Size: ", "Size: -"), "the invalid size -"),
    ],
)
def test_a_package_with_invalid_fields_is_refused_when_it_is_looked_up(
    archive: Archive, folder: ArchiveFolder, text: str, reason: str
) -> None:
    folder.publish([], packages=f"{Deb('hello').stanza}\n{text}")
    (index,) = archive.indexes([TRIXIE], ["arm64"])
    with closing(index.catalogues[0].read()) as reader:
        assert len(reader.named("hello")) == 1
        with pytest.raises(PiimageError, match=rf"trixie: .*{reason}.*another mirror"):
            reader.named("a")


@pytest.mark.provokes("debian.index-damaged")
@pytest.mark.parametrize("text", ["Version: 1\n", "Package: \n"])
def test_a_signed_index_with_a_package_without_a_name_is_not_kept(
    archive: Archive, folder: ArchiveFolder, text: str
) -> None:
    folder.publish([], packages=text)
    with pytest.raises(PiimageError, match=r"trixie: .*cannot be read.*another mirror"):
        archive.indexes([TRIXIE], ["arm64"])
    assert kept(archive.store) == []


def test_paragraphs_end_where_a_line_is_empty_wherever_blocks_end() -> None:
    text = b"Package: a\n\n\nPackage: b\nVersion: 1\n\nPackage: c\n"
    expected = [b"Package: a", b"\nPackage: b\nVersion: 1", b"Package: c\n"]
    for size in range(1, len(text) + 1):
        blocks = [text[at : at + size] for at in range(0, len(text), size)]
        assert list(catalogue._paragraphs(blocks)) == expected


def test_a_damaged_compression_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "Packages.xz"
    for data in (b"garbage", lzma.compress(b"Package: a\n")[:-9]):
        file.write_bytes(data)
        with pytest.raises(ValueError, match=r"."):
            catalogue.build(file, ".xz", tmp_path / "catalogue")
        (tmp_path / "catalogue").unlink()


def test_folded_fields_and_sources_are_parsed(archive: Archive, folder: ArchiveFolder) -> None:
    extra = {
        "Source": "greeting (3.0-1)",
        "Pre-Depends": "a (>= 1)",
        "Depends": "b,\n c",
        "Provides": "greeter (= 1.0), salute",
        "Priority": "important",
        "Description": "x\n Depends: not this",
    }
    folder.publish([Deb("hello", fields=extra)])
    (index,) = archive.indexes([TRIXIE], ["arm64"])
    with closing(index.catalogues[0].read()) as reader:
        (row,) = reader.providers("salute")
        assert reader.providers("greeter") == [row]
    assert (row.source, row.source_version, row.priority) == ("greeting", "3.0-1", 1)
    assert row.depends.replace("\n", "") == "a (>= 1), b, c"
