"""Public keys as OpenSSH writes them: the lines of authorized_keys, their options, their files.

Sources: sshd(8), "AUTHORIZED_KEYS FILE FORMAT"; RFC 4253, 6.6; RFC 5656, 3.1; RFC 8709, 4;
RFC 4716; OpenSSH's PROTOCOL.u2f. Nothing here ever shows what a text holds: it might be a private
key.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piimage.errors import InputError

MAX_BYTES: Final = 1 << 20
_CURVES: Final = {
    "nistp256": (
        2**256 - 2**224 + 2**192 + 2**96 - 1,
        0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
    ),
    "nistp384": (
        2**384 - 2**128 - 2**96 + 2**32 - 1,
        0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF,
    ),
    "nistp521": (
        2**521 - 1,
        0x0051953EB9618E1C9A1F929A21A0B68540EEA2DA725B99B315F3B8B489918EF109E156193951EC7E937B1652C0BD3BB1BF073573DF883D2C34F1EF451FD46B503F00,
    ),
}
"""Each curve's prime and b, of y² = x³ - 3x + b (FIPS 186-4, appendix D.1.2)."""
TYPES: Final = (
    "ssh-ed25519",
    "ssh-rsa",
    *(f"ecdsa-sha2-{curve}" for curve in _CURVES),
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)
"""The types of key that OpenSSH 10 lets in."""
_FLAGS: Final = frozenset(
    {"agent-forwarding", "cert-authority", "no-agent-forwarding", "no-port-forwarding", "no-pty",
     "no-touch-required", "no-user-rc", "no-x11-forwarding", "port-forwarding", "pty", "restrict",
     "user-rc", "verify-required", "x11-forwarding"}
)  # fmt: skip
_VALUED: Final = frozenset(
    {"command", "environment", "expiry-time", "from", "permitlisten", "permitopen", "principals",
     "tunnel"}
)  # fmt: skip
_ONCE: Final = frozenset({"command", "from", "principals"})
_WHEN: Final = re.compile(r"[0-9]{8}(?:[0-9]{4}(?:[0-9]{2})?)?(?:Z|UTC)?", re.IGNORECASE)
DROPBEAR_OPTIONS: Final = frozenset(
    {"command", "no-agent-forwarding", "no-port-forwarding", "no-pty", "no-touch-required",
     "no-x11-forwarding", "permitlisten", "permitopen", "restrict", "verify-required"}
)  # fmt: skip
"""What Dropbear knows (its svr-authpubkeyoptions.c); it passes over a key with other options."""

_TYPE: Final = re.compile(
    r"(?:sk-|webauthn-sk-)?(?:ssh|ecdsa)-(?:[a-z0-9]+(?:-[a-z0-9]+)*)(?:@openssh\.com)?"
)
_NAMES: Final = "|".join(re.escape(name) for name in (*TYPES, "ssh-dss"))
_A_TYPE: Final = re.compile(rf"(?:^|\s)(?:{_NAMES})(?:\s|$)")
_A_BLOB: Final = re.compile(r"(?:^|\s)AAAA[0-9A-Za-z+/]")
_OPTION: Final = re.compile(r'([A-Za-z0-9-]+)(?:=("(?:[^"\\]|\\"|\\(?!"))*"|[^\s",]*))?')
_PRIVATE: Final = (
    "PRIVATE KEY-----", "PRIVATE KEY ----", "PuTTY-User-Key-File", "SSH PRIVATE KEY FILE FORMAT",
    "b3BlbnNzaC1rZXktdjE",
)  # fmt: skip
"""What marks private keys: PEM and OpenSSH, ssh.com, PuTTY, SSH 1; OpenSSH's without frame."""
_OTHER_FORMS: Final = {
    "---- BEGIN SSH2 PUBLIC KEY ----": ("RFC 4716 (of ssh.com and PuTTY)", "ssh-keygen -i -f {}"),
    "-----BEGIN PUBLIC KEY-----": ("PKCS #8", "ssh-keygen -i -m PKCS8 -f {}"),
    "-----BEGIN RSA PUBLIC KEY-----": ("PEM", "ssh-keygen -i -m PEM -f {}"),
}
_LEAST_RSA_BITS: Final = 1024
_WANTED: Final = "instead: a public key: a .pub file, or its line, such as ssh-ed25519 AAAA…"


@dataclass(frozen=True)
class Key:
    """One line of authorized_keys, and the names of its options in lower case."""

    line: str
    options: tuple[str, ...]


class _Refused(ValueError):
    """What is wrong with a line; it shows nothing of the line."""


def is_key(text: str) -> bool:
    """Say whether `text` is meant as a key itself, and not as the name of a file with keys."""
    return (
        _A_TYPE.search(text) is not None
        or _A_BLOB.search(text) is not None
        or text.startswith(("-----BEGIN", "---- BEGIN"))
        or "\n" in text.strip()
        or any(mark in text for mark in _PRIVATE)
    )


def keys_of(text: str) -> tuple[Key, ...]:
    """Return the keys that `text` is, one a line, or that the file of that name holds.

    Raises InputError ``ssh.private-key``, ``ssh.other-form``, ``ssh.not-a-key`` or
    ``ssh.unreadable``; its place is the file, where there is one.
    """
    if is_key(text):
        return parse_keys(text)
    file = Path(text).expanduser()
    return tuple(_parsed(_text(_read(file), file), file))


def parse_keys(text: str) -> tuple[Key, ...]:
    """Return the keys that `text` is, one a line. Raises InputError as `keys_of` does."""
    return tuple(_parsed(text, None))


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise InputError(
            "ssh.unreadable", f"the file cannot be read ({why})", place=str(file), hint=_WANTED
        ) from None
    if len(data) > MAX_BYTES:
        raise InputError(
            "ssh.not-a-key",
            f"more than {MAX_BYTES} bytes are no keys",
            place=str(file),
            hint=_WANTED,
        )
    return data


def _text(data: bytes, file: Path) -> str:
    """Return the text of a file; bytes that are no UTF-8 can only be in comments."""
    name = shlex.quote(str(file))
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = data.decode("utf-16" if wide else "utf-8", "replace")
    _refuse_private(text, file)
    if wide:
        raise _other_form(
            "UTF-16, as Windows writes it", f"iconv -f UTF-16 -t UTF-8 {name} > {name}.new", file
        )
    if data.startswith(codecs.BOM_UTF8):
        raise _other_form(
            "a byte order mark before it", f"sed -i '1s/^\\xEF\\xBB\\xBF//' {name}", file
        )
    return text


def _parsed(text: str, file: Path | None) -> Iterator[Key]:
    _refuse_private(text, file)
    for mark, (form, command) in _OTHER_FORMS.items():
        if mark in text:
            name = shlex.quote(str(file)) if file else "FILE"
            raise _other_form(form, f"{command.format(name)} > {name}.pub", file)
    found = False
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip(" \t\r")
        if not line or line.startswith("#"):
            continue
        found = True
        try:
            yield Key(line, _options_of(line))
        except _Refused as error:
            place = f"{file}:{number}" if file else None
            raise InputError("ssh.not-a-key", str(error), place=place, hint=_WANTED) from None
    if not found:
        what = "the file holds no key" if file else "the text holds no key"
        raise InputError("ssh.not-a-key", what, place=str(file) if file else None, hint=_WANTED)


def _refuse_private(text: str, file: Path | None) -> None:
    if not any(mark in text for mark in _PRIVATE):
        return
    hint = "instead: the line of the public key; and as this text was copied, make a new key"
    if file is not None:
        public, name = Path(f"{file}.pub"), shlex.quote(str(file))
        made = "" if public.is_file() else f" (ssh-keygen -y -f {name} > {name}.pub makes it)"
        hint = f"instead: {public}{made}; a private key stays where it was made"
    raise InputError(
        "ssh.private-key",
        "THIS IS A PRIVATE KEY, not a public one",
        place=str(file) if file else None,
        hint=hint,
    )  # fmt: skip


def _other_form(form: str, command: str, file: Path | None) -> InputError:
    return InputError(
        "ssh.other-form", f"a key in another form than OpenSSH's: {form}",
        place=str(file) if file else None, hint=f"instead: convert it: {command}",
    )  # fmt: skip


# One line -----------------------------------------------------------------------------------


def _options_of(line: str) -> tuple[str, ...]:
    """Return the names of the options of a key's line. Raises _Refused for what is no key."""
    if "\0" in line:
        raise _Refused("this is no text")
    if "\r" in line:
        raise _Refused("its lines end as on an old Mac, with CR alone: sshd reads them as one")
    kind, _, rest = line.replace("\t", " ").partition(" ")
    options: tuple[str, ...] = ()
    if not _TYPE.fullmatch(kind):
        options, behind = _options(line)
        kind, _, rest = behind.replace("\t", " ").partition(" ")
    if kind not in TYPES:
        raise _Refused(_unknown(kind))
    # Blanks and tabs alone: sshd takes the no-break space of a web page for a part of the key.
    words = rest.replace("\t", " ").strip(" ").split(" ")
    if not words[0]:
        raise _Refused(f"nothing stands behind {kind}: the key is cut short")
    _check_blob(kind, words[0])
    return options


def _unknown(kind: str) -> str:
    if kind == "ssh-dss":
        return "a DSA key (ssh-dss): OpenSSH takes none any more"
    if "-cert-v0" in kind:
        return "a certificate, not a key (the authority's own key goes behind cert-authority)"
    return "this is no public key: it begins with neither a type of key nor options"


def _options(line: str) -> tuple[tuple[str, ...], str]:
    """Return the options before a key, and what is behind them."""
    names: list[str] = []
    at = 0
    while found := _OPTION.match(line, at):
        name, value = found[1].lower(), found[2]
        known = name in _VALUED if value is not None else name in _FLAGS
        if not known:
            break
        if value is not None and not value.startswith('"'):
            raise _Refused(f"the value of the option {name}= is not in quotes")
        if value is not None:
            _check_value(name, value[1:-1], names)
        names.append(name)
        at = found.end()
        if line[at : at + 1] != ",":
            break
        at += 1
    if not names or line[at : at + 1] not in (" ", "\t"):
        if _A_TYPE.search(line):
            raise _Refused("what stands before the type of key are not options of OpenSSH")
        raise _Refused(_unknown(""))
    return tuple(names), line[at:].strip()


def _check_value(name: str, value: str, before: Sequence[str]) -> None:
    """Refuse what makes sshd pass over the whole key (its auth-options.c)."""
    if name in _ONCE and name in before:
        raise _Refused(f"the option {name}= is there twice: sshd passes over the key")
    if name == "expiry-time" and not _WHEN.fullmatch(value):
        raise _Refused(
            "the value of expiry-time= is none: it is YYYYMMDD or YYYYMMDDHHMM, perhaps with Z"
        )


def _check_blob(kind: str, text: str) -> None:
    try:
        blob = base64.b64decode(text, validate=True)
        fields = list(_fields(blob))
    except (binascii.Error, ValueError):
        raise _Refused(f"the {kind} key is cut short, or not copied whole") from None
    if fields[:1] != [kind.encode()]:
        raise _Refused(f"what stands behind {kind} is not a key of that type")
    if not _fits(kind, fields[1:]):
        raise _Refused(f"the {kind} key is cut short, or not copied whole")
    if (
        kind == "ssh-rsa"
        and (bits := int.from_bytes(fields[2], "big").bit_length()) < _LEAST_RSA_BITS
    ):
        raise _Refused(f"an RSA key of {bits} bits: OpenSSH takes {_LEAST_RSA_BITS} or more")


def _fields(blob: bytes) -> Iterator[bytes]:
    """Give the strings of a key's blob (RFC 4251, 5). Raises ValueError if one is cut short."""
    while blob:
        size = int.from_bytes(blob[:4], "big")
        if len(blob) < 4 + size:
            raise ValueError("cut short")
        yield blob[4 : 4 + size]
        blob = blob[4 + size :]


def _fits(kind: str, fields: Sequence[bytes]) -> bool:
    """Say whether the fields behind the type are those of the type."""
    hardware = kind.startswith("sk-")
    if hardware:
        if not fields or not fields[-1]:  # the application, such as ssh:
            return False
        fields = fields[:-1]
    if "ed25519" in kind:
        return [len(one) for one in fields] == [32]
    if kind == "ssh-rsa":
        return len(fields) == 2 and all(fields)
    curve = kind.removeprefix("sk-").removeprefix("ecdsa-sha2-").removesuffix("@openssh.com")
    return (
        len(fields) == 2 and fields[0] == curve.encode() and _is_point(fields[1], *_CURVES[curve])
    )


def _is_point(data: bytes, prime: int, b: int) -> bool:
    """Say whether `data` is a point of the curve, uncompressed: a damaged key hardly is."""
    size = (prime.bit_length() + 7) // 8
    if len(data) != 1 + 2 * size or data[0] != 4:
        return False
    x, y = int.from_bytes(data[1 : 1 + size], "big"), int.from_bytes(data[1 + size :], "big")
    return x < prime and y < prime and (y * y - x * x * x + 3 * x - b) % prime == 0
