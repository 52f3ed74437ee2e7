"""Signatures of a system: with openssl itself, deterministic, and by the right key only."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from piimage.errors import InputError
from piimage.run import Runner
from piimage.signing import Signer, certificate_in
from tests.unit.signing_keys import Pair, checks, pair

RECIPE = b'{"size":1}\n\x00\r\n binary \xff'


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    folder = tmp_path_factory.mktemp("keys")
    return {name: pair(folder, name) for name in ("ours", "other")}


def test_the_same_key_and_bytes_give_the_same_signature_which_openssl_accepts(
    keys: dict[str, Pair], tmp_path: Path
) -> None:
    signature = keys["ours"].signer.sign(RECIPE, Runner())
    assert signature == keys["ours"].signer.sign(RECIPE, Runner())
    trusted = certificate_in(keys["ours"].certificate)
    assert checks(RECIPE, signature, trusted, tmp_path)
    assert not checks(RECIPE.replace(b"\r\n", b"\n"), signature, trusted, tmp_path)
    assert not checks(RECIPE, signature, certificate_in(keys["other"].certificate), tmp_path)


def test_a_signature_holds_neither_time_nor_certificate_nor_content(keys: dict[str, Pair]) -> None:
    """Else it would differ from build to build (RFC 5652, 11.3: OID 1.2.840.113549.1.9.5)."""
    signature = keys["ours"].signer.sign(RECIPE, Runner())
    assert b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x05" not in signature
    assert RECIPE not in signature
    assert len(signature) < 500  # RSA's own are 256


@pytest.mark.provokes("signing.key")
def test_a_key_of_another_certificate_is_refused(keys: dict[str, Pair]) -> None:
    signer = Signer(str(keys["other"].key), keys["ours"].certificate)
    with pytest.raises(InputError, match="cannot sign with it: key values mismatch"):
        signer.sign(RECIPE, Runner())


@pytest.mark.parametrize("kind", ["ed25519", "ec"])
def test_keys_whose_signatures_in_cms_are_not_deterministic_are_refused(
    tmp_path: Path, kind: str
) -> None:
    words = ("-newkey", kind) + (("-pkeyopt", "ec_paramgen_curve:P-256") if kind == "ec" else ())
    with pytest.raises(InputError, match="is no RSA key") as caught:
        pair(tmp_path, kind, words).signer.sign(RECIPE, Runner())
    assert caught.value.code == "signing.key"


def test_what_is_no_certificate_is_refused(keys: dict[str, Pair], tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    with pytest.raises(InputError, match="is no certificate"):
        Signer(str(keys["ours"].key), tmp_path / "text").sign(RECIPE, Runner())


def test_the_pin_of_a_token_is_not_shown(keys: dict[str, Pair]) -> None:
    """It may stand in the URI (RFC 7512, 2.4)."""
    signer = Signer("pkcs11:token=none;object=k?pin-value=1234", keys["ours"].certificate)
    with pytest.raises(InputError) as caught:
        signer.sign(RECIPE, Runner())
    assert "1234" not in str(caught.value)


def test_a_private_key_beside_the_certificate_stays_at_home(
    keys: dict[str, Pair], tmp_path: Path
) -> None:
    both = tmp_path / "both.pem"
    certificate = keys["ours"].certificate.read_bytes()
    both.write_bytes(keys["ours"].key.read_bytes() + certificate.rstrip())
    assert certificate_in(both) == certificate


@pytest.mark.provokes("signing.certificate")
@pytest.mark.parametrize(("count", "words"), [(0, "no certificates"), (2, "2 certificates")])
def test_a_file_has_one_certificate(
    keys: dict[str, Pair], tmp_path: Path, count: int, words: str
) -> None:
    file = tmp_path / "some.pem"
    file.write_bytes(keys["ours"].certificate.read_bytes() * count)
    with pytest.raises(InputError, match=words) as caught:
        certificate_in(file)
    assert caught.value.code == "signing.certificate"


def test_certificates_one_after_another_are_a_file_of_openssl(
    keys: dict[str, Pair], tmp_path: Path
) -> None:
    """An editor may have left out the last line's end, or written Windows's."""
    files = [tmp_path / name for name in ("a", "b")]
    files[0].write_bytes(keys["other"].certificate.read_bytes().rstrip())
    files[1].write_bytes(keys["ours"].certificate.read_bytes().replace(b"\n", b"\r\n"))
    trusted = b"".join(map(certificate_in, files))
    shown = subprocess.run(
        ["openssl", "storeutl", "-noout", "-certs", "/dev/stdin"],
        input=trusted, capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    assert b"Total found: 2" in shown.stdout
    for name in ("ours", "other"):
        assert checks(RECIPE, keys[name].signer.sign(RECIPE, Runner()), trusted, tmp_path)
