"""Interfaces that other drivers expect, for the adapter of the models."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from types import ModuleType

from chipmodels.adapter import I2cAdapter, Message
from chipmodels.clock import VirtualClock


class BlinkaI2C:
    """``busio.I2C`` of Adafruit's Blinka. Transfers take time: some drivers wait by polling."""

    def __init__(self, adapter: I2cAdapter, clock: VirtualClock) -> None:
        self._adapter = adapter
        self._clock = clock

    def _transfer(self, *messages: Message) -> list[bytes]:
        self._clock.sleep(0.0003)
        return self._adapter.transfer(messages)

    def try_lock(self) -> bool:
        return True

    def unlock(self) -> None:
        pass

    def writeto(
        self, address: int, buffer: bytes, *, start: int = 0, end: int | None = None
    ) -> None:
        self._transfer(Message(address, bytes(buffer[start:end])))

    def readfrom_into(
        self, address: int, buffer: bytearray, *, start: int = 0, end: int | None = None
    ) -> None:
        size = len(buffer[start:end])
        buffer[start:end] = self._transfer(Message(address, length=size, read=True))[0]

    def writeto_then_readfrom(
        self,
        address: int,
        out: bytes,
        into: bytearray,
        *,
        out_start: int = 0,
        out_end: int | None = None,
        in_start: int = 0,
        in_end: int | None = None,
    ) -> None:
        ask = Message(address, bytes(out[out_start:out_end]))
        read = Message(address, length=len(into[in_start:in_end]), read=True)
        into[in_start:in_end] = self._transfer(ask, read)[0]


def pimoroni_bmp280() -> ModuleType:
    """The module of Pimoroni's distribution ``bmp280``, beside this project's of that name."""
    files = importlib.metadata.files("bmp280") or []
    path = next(f for f in files if f.name == "__init__.py").locate()
    spec = importlib.util.spec_from_file_location("pimoroni_bmp280", str(path))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
