"""Signatures of a version of the system: CMS (RFC 5652), made and checked by openssl.

A signature is detached and has no signed attributes, so that it has no time: the same key and the
same bytes give the same signature. That takes RSA with PKCS #1 v1.5; openssl signs with Ed25519 in
CMS only with attributes, and ECDSA is random.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piimage.errors import InputError, PiimageError
from piimage.run import Completed, Runner

IN_TOKEN: Final = "pkcs11:"  # noqa: S105  # no password
"""What the URI of a key in a token begins with (RFC 7512)."""
_CERTIFICATE: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----\r?\n[A-Za-z0-9+/=\r\n]+-----END CERTIFICATE-----"
)
_ANY: Final = range(-64, 256)  # an engine that fails may end openssl by a signal
_TIME_S: Final = 120.0  # a token may ask a person to touch it
_SIGN: Final = ("openssl", "cms", "-sign", "-binary", "-noattr", "-md", "sha256")
_CHECK: Final = ("openssl", "cms", "-verify", "-binary", "-inform", "DER", "-nointern", "-noverify")
_SHOW: Final = ("openssl", "x509", "-noout", "-text")


def certificate_in(path: Path) -> bytes:
    """Return the certificate in a PEM file, without what else is there: a key stays at home.

    Raises InputError ``signing.certificate`` unless there is one.
    """
    found = _CERTIFICATE.findall(path.read_bytes())
    if len(found) != 1:
        raise InputError(
            "signing.certificate", f"the file has {len(found) or 'no'} certificates (PEM)",
            place=str(path), hint="write one file for each key",
        )  # fmt: skip
    certificate: bytes = found[0]
    return certificate.replace(b"\r\n", b"\n") + b"\n"


@dataclass(frozen=True)
class Signer:
    """A private key, as a PEM file or as a ``pkcs11:`` URI, and the certificate that belongs to it.

    The certificate is only the form in which CMS wants a public key: nobody reads its dates.
    """

    key: str
    certificate: Path

    def sign(self, data: bytes, runner: Runner) -> bytes:
        """Return the signature of `data`, in DER.

        Raises InputError ``signing.key`` if the key cannot be used, is not that of the certificate,
        or is no RSA key.
        """
        return self._checked(data, ("-nocerts",), runner)

    def sign_with_certificate(self, data: bytes, runner: Runner) -> bytes:
        """Return a signature of `data` that has the certificate, as SWUpdate expects it.

        Raises as `sign`.
        """
        return self._checked(data, (), runner)

    def _checked(self, data: bytes, more: tuple[str, ...], runner: Runner) -> bytes:
        shown = runner.run([*_SHOW, "-in", self.certificate], accept=(0, 1))
        if shown.status != 0:
            raise self._error(f"{self.certificate} is no certificate")
        if "Public Key Algorithm: rsaEncryption\n" not in shown.text:
            raise self._error(f"the key of {self.certificate} is no RSA key")
        done = self._signed(data, more, runner)
        if done.status != 0 or not done.stdout:
            lines = done.stderr.decode(errors="replace").replace(self.key, "KEY").splitlines()
            raise self._error(f"openssl cannot sign with it: {_cause(lines)}")
        return done.stdout

    def _signed(self, data: bytes, more: tuple[str, ...], runner: Runner) -> Completed:
        """Run openssl. Errors of `Runner` would show its arguments, which may have a PIN."""
        options = ("-signer", str(self.certificate), *_key_options(self.key), "-outform", "DER")
        try:
            return runner.run([*_SIGN, *more, *options], stdin=data, timeout=_TIME_S, accept=_ANY)
        except PiimageError as error:
            if error.code != "run.timeout":
                raise
            raise self._error(f"it did not sign within {_TIME_S:g} s") from None

    def _error(self, reason: str) -> InputError:
        return InputError(
            "signing.key", reason, place=self.key.partition("?")[0],
            hint="make both with: openssl req -x509 -newkey rsa:3072 -noenc -days 36500 "
            "-subj /CN=NAME -keyout signing.key -out signing.pem",
        )  # fmt: skip


def is_signed(content: Path, signature: Path, certificates: Path, runner: Runner) -> bool:
    """Say whether a key of the file `certificates` has signed the file `content`.

    Only keys count, as on the Pi: neither dates, nor subjects, nor what the signature brings.
    """
    files = ("-certfile", certificates, "-in", signature, "-content", content)
    done = runner.run([*_CHECK, "-out", os.devnull, *files], accept=_ANY, timeout=_TIME_S)
    return done.status == 0


def _key_options(key: str) -> tuple[str, ...]:
    if key.startswith(IN_TOKEN):
        return ("-engine", "pkcs11", "-keyform", "engine", "-inkey", key)
    return ("-inkey", key)


def _cause(lines: list[str]) -> str:
    """Return openssl's first error: its fields are separated by colons, the sixth is the reason."""
    errors = [line.split(":") for line in lines if line.count(":") >= 6]
    if errors:
        return errors[0][5]
    return lines[-1] if lines else "it says nothing"
