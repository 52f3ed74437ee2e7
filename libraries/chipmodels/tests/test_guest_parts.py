"""The parts of the guest session that need no guest: messages, modules, contents of chips."""

from __future__ import annotations

import contextlib
import lzma
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from chipmodels.testing.buses import _dump
from chipmodels.testing.channel import Channel, ChannelClosed
from chipmodels.testing.modules import HostModules, ModuleError, Modules, module_bytes
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def ends() -> Iterator[tuple[Channel, int, Channel, int]]:
    a, b = os.pipe(), os.pipe()
    yield Channel(a[0], b[1]), b[1], Channel(b[0], a[1]), a[1]
    for fd in {*a, *b}:
        with contextlib.suppress(OSError):  # closed by the test
            os.close(fd)


@given(
    st.lists(
        st.dictionaries(st.text(max_size=9), st.one_of(st.none(), st.text(), st.integers())),
        max_size=4,
    )
)
def test_messages_arrive_as_they_were_sent(messages: list[dict[str, object]]) -> None:
    read, write = os.pipe()
    channel = Channel(read, write)
    for message in messages:
        channel.send(message)
    assert [channel.receive(1) for _ in messages] == messages
    os.close(read)
    os.close(write)


def test_silence_is_a_timeout_and_an_end_is_told(ends: tuple[Channel, int, Channel, int]) -> None:
    here, _, _, their_fd = ends
    with pytest.raises(TimeoutError):
        here.receive(0.01)
    os.write(their_fd, b'{"half')
    os.close(their_fd)
    with pytest.raises(ChannelClosed):
        here.receive(1)


def test_a_module_comes_with_what_it_needs_in_order(tmp_path: Path) -> None:
    (tmp_path / "modules.dep").write_text("kernel/a/i2c-new.ko: kernel/a/mid.ko kernel/a/low.ko\n")
    inserted: list[tuple[str, str]] = []

    class Noting(Modules):
        def _insert(self, path: Path, parameters: str) -> None:
            inserted.append((path.name, parameters))

    Noting(tmp_path).load("i2c_new", chip_addr="0x48")
    assert inserted == [("low.ko", ""), ("mid.ko", ""), ("i2c-new.ko", "chip_addr=0x48")]
    with pytest.raises(ModuleError, match=r"no module other .*device_nodes_modules"):
        Noting(tmp_path).load("other")


def test_a_module_beside_the_kernels_is_found(tmp_path: Path) -> None:
    (tmp_path / "modules.dep").write_text("kernel/a.ko:\n")
    beside = tmp_path / "i2c-stub.ko"
    assert Modules(tmp_path, (beside,)).files("i2c_stub") == [beside]
    assert Modules(tmp_path).files("i2c_stub") == []


def test_packed_modules_are_unpacked_and_built_in_ones_known(tmp_path: Path) -> None:
    """Debian 13 has ``.ko.xz``, and virtio in the kernel."""
    (tmp_path / "modules.dep").write_text("kernel/fs/9p/9p.ko.xz: kernel/net/9p/9pnet.ko.xz\n")
    (tmp_path / "modules.builtin").write_text("kernel/drivers/virtio/virtio_pci.ko\n")
    modules = Modules(tmp_path)
    names = [path.name for path in modules.files("9p")]
    assert names == ["9pnet.ko.xz", "9p.ko.xz"]
    assert [modules.known(name) for name in ("9p", "virtio-pci", "cuse")] == [True, True, False]
    assert modules.files("virtio_pci") == []
    packed = tmp_path / "9p.ko.xz"
    packed.write_bytes(lzma.compress(b"module"))
    assert module_bytes(packed) == b"module"
    packed.write_bytes(b"module")
    with pytest.raises(OSError, match=r"9p\.ko\.xz"):
        module_bytes(packed)


def test_without_modprobe_kmod_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("chipmodels.testing.modules._PLACES", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ModuleError, match="apt-get install kmod"):
        HostModules().load("no-such-module")


def test_registers_and_dump_files_are_contents(tmp_path: Path) -> None:
    file = tmp_path / "chip.dump"
    file.write_text("80: " + " ".join(["6b"] * 16) + "\n")
    assert _dump(file).values[0x8F] == 0x6B
    assert _dump({1: 2}).values == {1: 2}
