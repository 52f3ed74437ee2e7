"""Protocol buffers on the wire: the fields that containerd's messages have here."""

_VARINT, _BYTES = 0, 2
_FIXED = {1: 8, 5: 4}  # bytes, by the wire type


def integer(field: int, value: int) -> bytes:
    """Return a field with a number that is not negative."""
    return _varint(field << 3 | _VARINT) + _varint(value)


def text(field: int, value: str) -> bytes:
    """Return a field with a string."""
    return message(field, value.encode())


def message(field: int, value: bytes) -> bytes:
    """Return a field with bytes, such as a message."""
    return _varint(field << 3 | _BYTES) + _varint(len(value)) + value


def integers(data: bytes) -> dict[int, int]:
    """Return the numbers of a message by field; of other fields nothing.

    Raises IndexError if the message ends within a field, ValueError if it has one of another form.
    """
    found: dict[int, int] = {}
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        field, form = key >> 3, key & 7
        if form == _VARINT:
            found[field], at = _read_varint(data, at)
        elif form == _BYTES:
            length, at = _read_varint(data, at)
            at += length
        elif form in _FIXED:
            at += _FIXED[form]
        else:
            raise ValueError(f"a field of the form {form}")
    return found


def _varint(value: int) -> bytes:
    data = bytearray()
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    data.append(value)
    return bytes(data)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number of more than ten bytes")
