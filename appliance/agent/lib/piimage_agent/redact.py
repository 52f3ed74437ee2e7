"""Removes data that identifies this Pi, and secrets, from a report before it leaves the Pi."""

from __future__ import annotations

from piimage_agent.root import Root, names, read_line, read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_HEX = frozenset("0123456789abcdefABCDEF")
_PAIRS = 6  # of hexadecimal digits in a MAC address
_VENDOR = 3  # of them identify the vendor of the radio or the port
_SECRET = ("key", "pass", "psk", "pwd", "secret", "token")
_TEXT_LIMIT = 2048  # characters, as many as a kernel command line has
_LIST_LIMIT = 256
_SHORTEST = 6  # characters of a number to look for; shorter numbers occur by chance


class Redactor:
    """Cleans every text of a document: MAC addresses, this Pi's own numbers, values of secrets."""

    def __init__(self, own: Iterable[str]) -> None:
        """Take the numbers of this Pi alone; short numbers and zeros are ignored."""
        long = (number for number in own if len(number) >= _SHORTEST and number.strip("0"))
        lowered = {number.lower() for number in long}
        self._own = sorted(lowered, key=lambda number: (-len(number), number))

    def clean(self, value: object) -> object:
        """Return a JSON value with cleaned texts; long texts and lists are truncated."""
        if isinstance(value, str):
            return self.text(value[:_TEXT_LIMIT])
        if isinstance(value, list):
            return [self.clean(item) for item in value[:_LIST_LIMIT]]
        if isinstance(value, dict):
            return {key: self.clean(item) for key, item in value.items()}
        return value

    def text(self, text: str) -> str:
        """Return `text` without secrets and data that identifies this Pi."""
        for number in self._own:
            text = _replaced(text, number)
        return without_secrets(vendors_only(text))


def own_numbers(root: Root) -> list[str]:
    """Return the numbers of this Pi alone: its serial number, the number's end, MAC addresses."""
    tree = root.at("proc/device-tree")
    found = []
    for path in ("serial-number", "chosen/rpi-duid"):
        number = read_text(f"{tree}/{path}", 256).strip("\0\n ")
        found += [number, number.lstrip("0"), number[-8:]]
    net = root.at("sys/class/net")
    macs = [read_line(f"{net}/{name}/address") for name in names(net)]
    return [*found, *(mac.replace(":", "") for mac in macs)]


def vendors_only(text: str) -> str:
    """Return `text` with each MAC address reduced to its vendor's part."""
    parts = []
    at = 0
    while at < len(text):
        end = _pairs_end(text, at)
        if (end - at + 1) // 3 < _PAIRS:
            parts.append(text[at])
            at += 1
            continue
        shown = 3 * _VENDOR - 1
        parts.append(text[at : at + shown])
        parts.extend(text[place] + "xx" for place in range(at + shown, end, 3))
        at = end
    return "".join(parts)


def _pairs_end(text: str, at: int) -> int:
    """Return the end of a run of hexadecimal pairs with separators that begins at `at`."""
    end = at
    while _HEX.issuperset(pair := text[end : end + 2]) and len(pair) == 2:
        end += 2
        if text[end : end + 1] not in (":", "-"):
            return end
        end += 1
    return max(at, end - 1)


def _replaced(text: str, number: str) -> str:
    lowered = text.lower()
    parts = []
    at = 0
    while (found := lowered.find(number, at)) >= 0:
        parts += [text[at:found], "(left out)"]
        at = found + len(number)
    return "".join([*parts, text[at:]])


def without_secrets(text: str) -> str:
    """Return `text` without the values of ``KEY=VALUE`` whose key suggests a secret."""
    found = []
    quoted = False
    for word in text.split(" "):
        if quoted:
            quoted = not word.endswith('"')
            continue
        key, equals, value = word.partition("=")
        secret = equals and any(part in key.lower() for part in _SECRET)
        found.append(f"{key}=(left out)" if secret else word)
        quoted = bool(secret) and value.startswith('"') and (value == '"' or value[-1] != '"')
    return " ".join(found)
