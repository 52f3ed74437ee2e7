from __future__ import annotations

import base64
import hashlib
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from piimage.debian import release
from piimage.errors import PiimageError
from piimage.run import Runner
from piimage.store import Store
from tests.examples import examples
from tests.unit.debian.makers import NOW, Signer, control, signer

SHA = "ab" * 32
TEXT = (
    control(
        {
            "Suite": "stable",
            "Codename": "trixie",
            "Date": "Sun, 17 May 2026 11:00:00 UTC",
            "Valid-Until": "Sun, 24 May 2026 11:00:00 +0200",
            "Components": "main non-free-firmware",
            "Architectures": "all arm64",
            "Acquire-By-Hash": "yes",
        }
    ).decode()
    + f"MD5Sum:\n 00 1 x\nSHA256:\n {SHA} 12 main/binary-arm64/Packages.xz\n"
)


def verified(store: Store, key: Signer, data: bytes) -> release.Release:
    place = "mirror trixie"
    return release.parse(release.verify(Runner(), store, data, key.keyring, place), place)


def kept(store: Store) -> list[Path]:
    return [path for path in store.root.rglob("*") if path.is_file()]


def test_a_signed_release_is_read(store: Store, key: Signer) -> None:
    signed = verified(store, key, key.sign(TEXT))
    assert signed.names == ("trixie", "stable")
    assert signed.date == NOW - timedelta(hours=1)
    assert signed.valid_until == NOW + timedelta(days=6, hours=21)
    assert signed.components == ("main", "non-free-firmware")
    assert signed.by_hash
    assert signed.files["main/binary-arm64/Packages.xz"].sha256 == SHA
    assert list(signed.files) == ["main/binary-arm64/Packages.xz"]


def test_text_outside_of_the_signed_text_is_not_read(store: Store, key: Signer) -> None:
    unsigned = f"SHA256:\n {'00' * 32} 1 evil\n".encode()
    signed = verified(store, key, unsigned + key.sign(TEXT) + unsigned)
    assert list(signed.files) == ["main/binary-arm64/Packages.xz"]


def test_only_the_signed_text_is_returned(store: Store, key: Signer) -> None:
    unsigned = b"Date: Tue, 01 Jan 2100 00:00:00 UTC\n"
    data = unsigned + key.sign(TEXT) + unsigned
    text = release.verify(Runner(), store, data, key.keyring, "m")
    assert text == TEXT.encode()
    assert release.parse(text, "m").sha256 == hashlib.sha256(TEXT.encode()).hexdigest()


def test_the_first_of_two_signed_texts_is_returned(store: Store, key: Signer) -> None:
    both = key.sign(TEXT) + key.sign(TEXT.replace("stable", "other"))
    assert release.verify(Runner(), store, both, key.keyring, "m") == TEXT.encode()


@pytest.mark.provokes("debian.index-signature")
@pytest.mark.parametrize("bad_first", [False, True])
def test_a_bad_signature_beside_a_good_one_is_refused(
    store: Store, key: Signer, bad_first: bool
) -> None:
    good, bad = key.signature(TEXT), key.signature(TEXT + "more\n")
    clear = key.sign(TEXT)
    head = clear[: clear.index(b"-----BEGIN PGP SIGNATURE-----")]
    assert verified(store, key, head + armored(good)).names == ("trixie", "stable")
    both = bad + good if bad_first else good + bad
    with pytest.raises(PiimageError, match=r"BAD signature|is invalid"):
        verified(store, key, head + armored(both))


def armored(packets: bytes) -> bytes:
    """Return the armor of RFC 9580, 6.2, without the checksum, which is optional."""
    lines = (b"-----BEGIN PGP SIGNATURE-----", b"", base64.encodebytes(packets).strip())
    return b"\n".join((*lines, b"-----END PGP SIGNATURE-----", b""))


@pytest.mark.provokes("debian.index-unsigned")
def test_an_unsigned_release_is_refused(store: Store, key: Signer) -> None:
    with pytest.raises(PiimageError, match="not signed"):
        verified(store, key, TEXT.encode())
    assert kept(store) == []


@pytest.mark.provokes("debian.index-signature")
def test_a_changed_release_is_refused(store: Store, key: Signer) -> None:
    with pytest.raises(PiimageError, match=r"index is invalid: BAD signature from "):
        verified(store, key, key.sign(TEXT).replace(b"trixie", b"trixiE"))
    assert kept(store) == []


@pytest.mark.provokes("debian.index-unknown-key")
def test_the_error_of_an_unknown_key_tells_how_to_get_the_key(store: Store, key: Signer) -> None:
    with signer() as other:
        listed = other._gpg("--list-keys", "--with-colons").decode().splitlines()
        (long_id,) = [line.split(":")[4] for line in listed if line.startswith("pub")]
        with pytest.raises(PiimageError, match="debian-archive-keyring") as caught:
            verified(store, key, other.sign(TEXT))
    assert caught.value.message.endswith(f"is signed with unknown keys: {long_id}")
    assert kept(store) == []


def test_one_known_key_of_several_is_enough(store: Store, key: Signer, tmp_path: Path) -> None:
    with signer() as other:
        secret = subprocess.run(
            ["gpg", "--homedir", other.home, "--batch", "--export-secret-keys"],
            capture_output=True, check=True,
        ).stdout  # fmt: skip
        with signer() as both:
            both._gpg("--import", data=secret)
            listed = both._gpg("--list-secret-keys", "--with-colons").decode().splitlines()
            prints = [line.split(":")[9] for line in listed if line.startswith("fpr")]
            users = [word for name in prints for word in ("--local-user", name)]
            data = both._gpg(*users, "--clearsign", data=TEXT.encode())
        assert len(prints) == 2
        assert verified(store, other, data).names == ("trixie", "stable")


@pytest.mark.provokes("debian.index-signature")
@pytest.mark.parametrize(
    "mangle",
    [
        lambda data: data.replace(b"-----BEGIN PGP SIGNED MESSAGE-----", b""),
        lambda data: data[: data.index(b"-----BEGIN PGP SIGNATURE-----") + 60],
    ],
)
def test_a_mangled_signature_is_refused(store: Store, key: Signer, mangle: object) -> None:
    assert callable(mangle)
    with pytest.raises(PiimageError):
        verified(store, key, mangle(key.sign(TEXT)))


@pytest.mark.provokes("debian.index-damaged")
@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("SHA256:", "SHA512:", "no field sha256"),
        ("Date: ", "Day: ", "no field date"),
        ("Sun, 17 May", "Someday", "Someday|date"),
        ("17 May 2026 11:00:00 UTC", "31 Dec 9999 23:30:00 -0100", "range"),
        ("Suite: stable", "nonsense", "no field name"),
    ],
)
def test_a_signed_text_that_is_not_a_release_is_refused(
    store: Store, key: Signer, old: str, new: str, reason: str
) -> None:
    with pytest.raises(PiimageError, match=reason):
        verified(store, key, key.sign(TEXT.replace(old, new)))


@pytest.mark.provokes("debian.index-suite")
def test_an_index_of_another_suite_is_refused(store: Store, key: Signer) -> None:
    signed = verified(store, key, key.sign(TEXT))
    release.check_suite(signed, "trixie", "m")
    release.check_suite(signed, "stable", "m")
    with pytest.raises(PiimageError, match="of trixie or stable, not of bookworm"):
        release.check_suite(signed, "bookworm", "m")


@pytest.mark.provokes("debian.index-expired", "debian.index-future", "debian.index-rollback")
def test_an_expired_future_or_older_index_is_refused(store: Store, key: Signer) -> None:
    signed = verified(store, key, key.sign(TEXT))
    release.check_dates(signed, NOW, signed.date, "m")
    with pytest.raises(PiimageError, match="valid until 2026-05-24 09:00"):
        release.check_dates(signed, NOW + timedelta(days=8), None, "m")
    with pytest.raises(PiimageError, match="in the future"):
        release.check_dates(signed, NOW - timedelta(days=2), None, "m")
    with pytest.raises(PiimageError, match="older than"):
        release.check_dates(signed, NOW, signed.date + timedelta(seconds=1), "m")


@pytest.mark.provokes("debian.index-expired", "debian.index-future")
def test_dates_may_be_reached_but_not_passed(store: Store, key: Signer) -> None:
    """A clock may be wrong by a day."""
    signed = verified(store, key, key.sign(TEXT))
    assert signed.valid_until is not None
    second = timedelta(seconds=1)
    release.check_dates(signed, signed.valid_until, None, "m")
    with pytest.raises(PiimageError, match="valid until"):
        release.check_dates(signed, signed.valid_until + second, None, "m")
    release.check_dates(signed, signed.date - timedelta(days=1), None, "m")
    with pytest.raises(PiimageError, match="in the future"):
        release.check_dates(signed, signed.date - timedelta(days=1) - second, None, "m")
    for_ever = replace(signed, valid_until=None)
    release.check_dates(for_ever, NOW + timedelta(days=9999), None, "m")


@pytest.mark.provokes("debian.index-signature")
@pytest.mark.parametrize(
    "words",
    ["", "GOODSIG", "VALIDSIG", "GOODSIG VALIDSIG BADSIG", "EXPSIG NO_PUBKEY",
     "EXPKEYSIG NO_PUBKEY", "REVKEYSIG NO_PUBKEY", "BADSIG NO_PUBKEY"],
)  # fmt: skip
def test_what_gpgv_says_is_not_good_enough(words: str) -> None:
    """doc/DETAILS of GnuPG."""
    status = "".join(f"[GNUPG:] {word} 0123\n" for word in words.split())
    with pytest.raises(PiimageError, match="gpgv gave no reason") as caught:
        release._check_status(status, "\n", "m")
    assert caught.value.code == "debian.index-signature"


def test_an_expired_key_beside_a_good_signature_does_no_harm() -> None:
    words = ("EXPKEYSIG", "NO_PUBKEY", "GOODSIG", "VALIDSIG")
    release._check_status("".join(f"[GNUPG:] {word} 0123\n" for word in words), "", "m")


def test_the_keyring_of_this_host_is_the_default() -> None:
    try:
        found = str(release.keyring())
    except PiimageError as error:
        found = str(error.place)
    assert found.startswith("/usr/share/keyrings/debian-archive-keyring.")


@pytest.mark.provokes("debian.no-keyring")
def test_the_error_of_a_missing_keyring_names_the_package(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    for name, command in (("debian", "apt-get install debian-archive-keyring"),
                          ("fedora", "dnf install debian-keyring")):  # fmt: skip
        (tmp_path / "etc/os-release").write_text(f"ID={name}\n")
        with pytest.raises(PiimageError, match=command):
            release.keyring(host=tmp_path)
    with pytest.raises(PiimageError, match="nowhere"):
        release.keyring(tmp_path / "nowhere")


@pytest.mark.parametrize("name", release.KEYRINGS)
def test_the_keyring_is_found_under_its_old_and_new_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"keys")
    assert release.keyring(host=tmp_path) == path


QUICK = settings(
    max_examples=examples(15),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@QUICK
@given(text=st.text(alphabet="SHA256:Date \n\té-", max_size=60))
def test_any_signed_text_is_read_or_refused(store: Store, key: Signer, text: str) -> None:
    try:
        verified(store, key, key.sign(text))
    except PiimageError as error:
        assert error.code.startswith("debian.index-")


@QUICK
@given(data=st.binary(max_size=200))
def test_any_bytes_are_refused(store: Store, key: Signer, data: bytes) -> None:
    armor = b"-----BEGIN PGP SIGNED MESSAGE-----\n" + data + b"\n-----BEGIN PGP SIGNATURE-----\n"
    with pytest.raises(PiimageError):
        verified(store, key, armor + data)
