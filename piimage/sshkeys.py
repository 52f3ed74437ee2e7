"""Public keys in OpenSSH's format: the lines of authorized_keys, their options, their files.

Sources: sshd(8), "AUTHORIZED_KEYS FILE FORMAT"; RFC 4253, 6.6; RFC 5656, 3.1; RFC 8709, 4;
RFC 4716; OpenSSH's PROTOCOL.u2f. No message shows the content of a text, which may be a private
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
"""The prime and b of each curve y² = x³ - 3x + b (FIPS 186-4, appendix D.1.2)."""
TYPES: Final = (
    "ssh-ed25519",
    "ssh-rsa",
    *(f"ecdsa-sha2-{curve}" for curve in _CURVES),
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)
"""The types of key that OpenSSH 10 accepts."""
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
"""The options that Dropbear knows (its svr-authpubkeyoptions.c); it ignores a key with others."""

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
"""The marks of private keys: PEM and OpenSSH, ssh.com, PuTTY, SSH 1, OpenSSH without PEM lines."""
_OTHER_FORMS: Final = {
    "---- BEGIN SSH2 PUBLIC KEY ----": ("RFC 4716 (of ssh.com and PuTTY)", "ssh-keygen -i -f {}"),
    "-----BEGIN PUBLIC KEY-----": ("PKCS #8", "ssh-keygen -i -m PKCS8 -f {}"),
    "-----BEGIN RSA PUBLIC KEY-----": ("PEM", "ssh-keygen -i -m PEM -f {}"),
}
_LEAST_RSA_BITS: Final = 1024
_WANTED: Final = "give a public key: a .pub file, or its line, such as ssh-ed25519 AAAA…"


@dataclass(frozen=True)
class Key:
    """A line of authorized_keys, and the names of its options in lower case."""

    line: str
    options: tuple[str, ...]


class _Refused(ValueError):
    """The error in a line; the message shows nothing of the line."""


def is_key(text: str) -> bool:
    """Return whether `text` is meant as a key, not as the name of a file with keys."""
    return (
        _A_TYPE.search(text) is not None
        or _A_BLOB.search(text) is not None
        or text.startswith(("-----BEGIN", "---- BEGIN"))
        or "\n" in text.strip()
        or any(mark in text for mark in _PRIVATE)
    )


def keys_of(text: str) -> tuple[Key, ...]:
    """Return the keys in `text`, one per line, or those in the file of that name.

    Raises InputError ``ssh.private-key``, ``ssh.other-form``, ``ssh.not-a-key`` or
    ``ssh.unreadable``; the place is the file, if `text` names one.
    """
    if is_key(text):
        return parse_keys(text)
    file = Path(text).expanduser()
    return tuple(_parsed(_text(_read(file), file), file))


def parse_keys(text: str) -> tuple[Key, ...]:
    """Return the keys in `text`, one per line. Raises InputError as `keys_of` does."""
    return tuple(_parsed(text, None))


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            "ssh.unreadable", f"the file cannot be read ({reason})", place=str(file), hint=_WANTED
        ) from None
    if len(data) > MAX_BYTES:
        raise InputError(
            "ssh.not-a-key",
            f"the file has more than {MAX_BYTES} bytes and cannot be a file of keys",
            place=str(file),
            hint=_WANTED,
        )
    return data


def _text(data: bytes, file: Path) -> str:
    """Return the text of a file; only comments may hold bytes that are not UTF-8."""
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
            "UTF-8 with a byte order mark", f"sed -i '1s/^\\xEF\\xBB\\xBF//' {name}", file
        )
    return text


def _parsed(text: str, file: Path | None) -> Iterator[Key]:
    _refuse_private(text, file)
    for mark, (form, command) in _OTHER_FORMS.items():
        if mark in text:
            name = shlex.quote(str(file)) if file else "FILE"
            raise _other_form(form, f"{command.format(name)} > {name}.pub", file)
    empty = True
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip(" \t\r")
        if not line or line.startswith("#"):
            continue
        empty = False
        try:
            yield Key(line, _options_of(line))
        except _Refused as error:
            place = f"{file}:{number}" if file else None
            raise InputError("ssh.not-a-key", str(error), place=place, hint=_WANTED) from None
    if empty:
        message = "the file contains no key" if file else "the text contains no key"
        raise InputError("ssh.not-a-key", message, place=str(file) if file else None, hint=_WANTED)


def _refuse_private(text: str, file: Path | None) -> None:
    if not any(mark in text for mark in _PRIVATE):
        return
    hint = "give the line of the public key; make a new key pair, because this key was copied"
    if file is not None:
        public, name = Path(f"{file}.pub"), shlex.quote(str(file))
        made = "" if public.is_file() else f" (make it with ssh-keygen -y -f {name} > {name}.pub)"
        hint = f"give {public}{made}; a private key must not leave its computer"
    raise InputError(
        "ssh.private-key",
        "THIS IS A PRIVATE KEY, not a public one",
        place=str(file) if file else None,
        hint=hint,
    )  # fmt: skip


def _other_form(form: str, command: str, file: Path | None) -> InputError:
    return InputError(
        "ssh.other-form", f"the key is not in OpenSSH's format, but in {form}",
        place=str(file) if file else None, hint=f"convert it with {command}",
    )  # fmt: skip


# One line -----------------------------------------------------------------------------------


def _options_of(line: str) -> tuple[str, ...]:
    """Return the names of the options of a key's line. Raises _Refused if it is not a key."""
    if "\0" in line:
        raise _Refused("this is not text")
    if "\r" in line:
        raise _Refused("its lines end with CR alone, as on an old Mac; sshd reads them as one line")
    kind, _, rest = line.replace("\t", " ").partition(" ")
    options: tuple[str, ...] = ()
    if not _TYPE.fullmatch(kind):
        options, key = _options(line)
        kind, _, rest = key.replace("\t", " ").partition(" ")
    if kind not in TYPES:
        raise _Refused(_unknown(kind))
    # Only blanks and tabs separate: to sshd, the no-break space of a web page is part of the key.
    words = rest.replace("\t", " ").strip(" ").split(" ")
    if not words[0]:
        raise _Refused(f"no key follows {kind}: the line is incomplete")
    _check_blob(kind, words[0])
    return options


def _unknown(kind: str) -> str:
    if kind == "ssh-dss":
        return "this is a DSA key (ssh-dss), which OpenSSH no longer accepts"
    if "-cert-v0" in kind:
        return "this is a certificate, not a key (for its authority, use the option cert-authority)"
    return "this is not a public key: it begins with neither a type of key nor options"


def _options(line: str) -> tuple[tuple[str, ...], str]:
    """Return the options before a key, and the rest of the line."""
    names: list[str] = []
    offset = 0
    while match := _OPTION.match(line, offset):
        name, value = match[1].lower(), match[2]
        known = name in _VALUED if value is not None else name in _FLAGS
        if not known:
            break
        if value is not None and not value.startswith('"'):
            raise _Refused(f"the value of the option {name}= is not in quotes")
        if value is not None:
            _check_value(name, value[1:-1], names)
        names.append(name)
        offset = match.end()
        if line[offset : offset + 1] != ",":
            break
        offset += 1
    if not names or line[offset : offset + 1] not in (" ", "\t"):
        if _A_TYPE.search(line):
            raise _Refused("the text before the type of key is not a list of OpenSSH's options")
        raise _Refused(_unknown(""))
    return tuple(names), line[offset:].strip()


def _check_value(name: str, value: str, previous: Sequence[str]) -> None:
    """Refuse a value because of which sshd would ignore the whole key (its auth-options.c)."""
    if name in _ONCE and name in previous:
        raise _Refused(f"the option {name}= is given twice: sshd ignores the key")
    if name == "expiry-time" and not _WHEN.fullmatch(value):
        raise _Refused(
            "the value of expiry-time= is not valid: it is YYYYMMDD or YYYYMMDDHHMM, with an "
            "optional Z"
        )


def _check_blob(kind: str, text: str) -> None:
    try:
        blob = base64.b64decode(text, validate=True)
        fields = list(_fields(blob))
    except (binascii.Error, ValueError):
        raise _Refused(f"the {kind} key is incomplete") from None
    if fields[:1] != [kind.encode()]:
        raise _Refused(f"the data after {kind} are not a key of that type")
    if not _fits(kind, fields[1:]):
        raise _Refused(f"the {kind} key is incomplete")
    if (
        kind == "ssh-rsa"
        and (bits := int.from_bytes(fields[2], "big").bit_length()) < _LEAST_RSA_BITS
    ):
        raise _Refused(f"an RSA key of {bits} bits is too short: OpenSSH needs {_LEAST_RSA_BITS}")


def _fields(blob: bytes) -> Iterator[bytes]:
    """Give the strings of a key's blob (RFC 4251, 5). Raises ValueError if one is incomplete."""
    while blob:
        size = int.from_bytes(blob[:4], "big")
        if len(blob) < 4 + size:
            raise ValueError("incomplete")
        yield blob[4 : 4 + size]
        blob = blob[4 + size :]


def _fits(kind: str, fields: Sequence[bytes]) -> bool:
    """Return whether the fields after the type are valid for the type."""
    hardware = kind.startswith("sk-")
    if hardware:
        if not fields or not fields[-1]:  # the application, such as ssh:
            return False
        fields = fields[:-1]
    if "ed25519" in kind:
        return [len(field) for field in fields] == [32]
    if kind == "ssh-rsa":
        return len(fields) == 2 and all(fields)
    curve = kind.removeprefix("sk-").removeprefix("ecdsa-sha2-").removesuffix("@openssh.com")
    return (
        len(fields) == 2 and fields[0] == curve.encode() and _is_point(fields[1], *_CURVES[curve])
    )


def _is_point(data: bytes, prime: int, b: int) -> bool:
    """Return whether `data` is an uncompressed point of the curve; a damaged key hardly ever is."""
    size = (prime.bit_length() + 7) // 8
    if len(data) != 1 + 2 * size or data[0] != 4:
        return False
    x, y = int.from_bytes(data[1 : 1 + size], "big"), int.from_bytes(data[1 + size :], "big")
    return x < prime and y < prime and (y * y - x * x * x + 3 * x - b) % prime == 0
