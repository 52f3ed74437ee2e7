"""HPACK (RFC 7541), the form of header lists in HTTP/2: reads those without a dynamic table."""

STATIC_ENTRIES = 61
"""Entries of the static table (Appendix A). No header that this client looks at is among them."""

# The lengths in bits of the Huffman codes of the bytes 0 to 255 and of the end mark (Appendix B).
# The codes follow from them, for they are canonical: counted up, the shorter ones first.
_LENGTHS = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c"
    "060a0a0c0d06080b0a0a080b080606060505050606060606060607080f060c0a"
    "0d06070707070707070707070707070707070707070707070807080d130d0e06"
    "0f05060506050606060507070606060506070605050607070707070f0b0e0d1c"
    "1416141416161617161717171717181718181617181717171715161716171718"
    "1615141616171715171616181516171715151615171617171416161617161617"
    "1a1a1413161716191a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b"
    "14181415161515171616191918181a171a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a"
    "1e"
)
_END = 256


class HeaderError(ValueError):
    """A header list that does not follow RFC 7541, or that needs a dynamic table."""


def decode(block: bytes) -> dict[str, str]:
    """Return the headers by name; those whose names are in the static table are left out."""
    headers: dict[str, str] = {}
    at = 0
    while at < len(block):
        first = block[at]
        if first & 0x80:  # one that is in a table
            index, at = _integer(block, at, 7)
            _check_static(index)
        elif first & 0xE0 == 0x20:  # the size of the dynamic table
            _, at = _integer(block, at, 5)
        else:
            name, value, at = _literal(block, at, 6 if first & 0x40 else 4)
            if name is not None:
                headers[name] = value
    return headers


def _literal(block: bytes, at: int, prefix: int) -> tuple[str | None, str, int]:
    index, at = _integer(block, at, prefix)
    name: str | None = None
    if index == 0:
        name, at = _string(block, at)
    else:
        _check_static(index)
    value, at = _string(block, at)
    return name, value, at


def _check_static(index: int) -> None:
    if not 0 < index <= STATIC_ENTRIES:
        raise HeaderError(f"no entry {index} in the static table")


def _integer(block: bytes, at: int, prefix: int) -> tuple[int, int]:
    """Return the integer at `at`, whose first byte has `prefix` bits of it (section 5.1)."""
    limit = (1 << prefix) - 1
    value = block[at] & limit
    at += 1
    if value < limit:
        return value, at
    for shift in range(0, 28, 7):
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise HeaderError("an integer is too large")


def _string(block: bytes, at: int) -> tuple[str, int]:
    is_coded = block[at] & 0x80
    length, at = _integer(block, at, 7)
    data = block[at : at + length]
    if len(data) < length:
        raise HeaderError("a string ends too soon")
    return (_decoded(data) if is_coded else data).decode(), at + length


def _decoded(data: bytes) -> bytes:
    """Return what the Huffman codes `data` stand for (section 5.2)."""
    symbols = _symbols()
    text = bytearray()
    code, length = 0, 0
    for byte in data:
        for bit in range(7, -1, -1):
            code = code << 1 | byte >> bit & 1
            length += 1
            symbol = symbols.get((length, code))
            if symbol is not None:
                text.append(symbol)
                code, length = 0, 0
    return bytes(text)


def _symbols() -> dict[tuple[int, int], int]:
    """Return the bytes by the lengths and values of their codes."""
    symbols: dict[tuple[int, int], int] = {}
    code, length = 0, 0
    for symbol in sorted(range(_END), key=lambda symbol: (_LENGTHS[symbol], symbol)):
        code <<= _LENGTHS[symbol] - length
        length = _LENGTHS[symbol]
        symbols[length, code] = symbol
        code += 1
    return symbols
