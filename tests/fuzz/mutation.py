"""Damage that keeps enough of a valid input to reach what lies behind the first check."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

NUMBERS = (0, 1, 2, 7, 8, 127, 128, 255, 256, 511, 512, 4095, 4096, 65535, 65536, 0x7FFFFFFF,
           0x80000000, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF, 1 << 63)  # fmt: skip
TOKENS = (b"", b"\0", b"-1", b"99999999999999999999", b"../..", b"/", b".", b"\xff",
          b"\xed\xa0\x80", b"\x1b[2J", b"{}", b"[]", b"null", b"true", b"1e999", b'"', b"'",
          b"\\", b"\n", b"\r\n",
          b": ", b"=", b"*a", b"&a", b"<<", b"!!python/name:os.system", b"${X}", b"%s", b"A" * 300,
          b"\xe2\x80\xae", b"0x", b"NaN", b"[" * 2000)  # fmt: skip
_WORD = re.compile(rb"[^\s,:={}\[\]\"]+")


@dataclass(frozen=True)
class Mutator:
    """Makes inputs out of `seeds`; the same `chance` gives the same inputs."""

    seeds: Sequence[bytes]
    chance: random.Random

    def binary(self) -> bytes:
        """A seed with a few places damaged, wherever they are."""
        data = bytearray(self.chance.choice(self.seeds))
        for _ in range(self._few()):
            self.chance.choice((self._flip, self._number, self._cut, self._copy, self._put))(data)
        return bytes(data)

    def text(self) -> bytes:
        """A seed with a few words or lines changed for others."""
        data = self.chance.choice(self.seeds)
        for _ in range(self._few()):
            data = self.chance.choice((self._word, self._line))(data)
        if self.chance.random() < 0.2:
            damaged = bytearray(data)
            self._put(damaged)
            data = bytes(damaged)
        return data

    def _few(self) -> int:
        return self.chance.choice((1, 1, 1, 2, 3, 6))

    def _at(self, data: bytearray) -> int:
        return self.chance.randrange(len(data) + 1)

    def _flip(self, data: bytearray) -> None:
        if data:
            data[self.chance.randrange(len(data))] ^= 1 << self.chance.randrange(8)

    def _number(self, data: bytearray) -> None:
        form = self.chance.choice(("<H", ">H", "<I", ">I", "<Q", ">Q", "B"))
        size = struct.calcsize(form)
        number = self.chance.choice(NUMBERS) % (1 << 8 * size)
        at = self._at(data)
        data[at : at + size] = struct.pack(form, number)

    def _cut(self, data: bytearray) -> None:
        at = self._at(data)
        del data[at : at + self.chance.choice((1, 4, 16, 512, len(data)))]

    def _copy(self, data: bytearray) -> None:
        start, size = self._at(data), self.chance.choice((1, 4, 16, 512))
        at = self._at(data)
        data[at:at] = data[start : start + size]

    def _put(self, data: bytearray) -> None:
        at, token = self._at(data), self.chance.choice(TOKENS)
        data[at : at + self.chance.choice((0, len(token)))] = token

    def _word(self, data: bytes) -> bytes:
        words = list(_WORD.finditer(data))
        if not words:
            return data
        word = self.chance.choice(words)
        other = self.chance.choice(list(_WORD.finditer(self.chance.choice(self.seeds))) or words)
        new = self.chance.choice((self.chance.choice(TOKENS), other[0], word[0] * 2, b"0"))
        return data[: word.start()] + new + data[word.end() :]

    def _line(self, data: bytes) -> bytes:
        lines = data.split(b"\n")
        at = self.chance.randrange(len(lines))
        other = self.chance.choice(self.chance.choice(self.seeds).split(b"\n"))
        lines[at : at + self.chance.choice((0, 1, 1))] = self.chance.choice(
            ([], [lines[at], lines[at]], [other], [b"  " + lines[at]])
        )
        return b"\n".join(lines)


def tar_sums(data: bytes) -> bytes:
    """The tar `data` with every header's checksum put right, so that damage in it is seen."""
    fixed = bytearray(data)
    for at in range(0, len(fixed) - 511, 512):
        if fixed[at + 257 : at + 262] == b"ustar":
            fixed[at + 148 : at + 156] = b" " * 8
            fixed[at + 148 : at + 156] = b"%06o\0 " % sum(fixed[at : at + 512])
    return bytes(fixed)


Mutation = Callable[[Mutator], bytes]
