"""A connection that is cut in the middle of a system, between a real ssh and a real sshd."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from piimage.deploy import system
from piimage.deploy.hosts import Host
from piimage.deploy.pi import PiTarget
from piimage.deploy.ssh import Ssh
from piimage.errors import PiimageError
from piimage.firmware.fat import FatReader
from piimage.run import Runner
from tests.programs.deploy.slots_stand import KERNEL, SlotsStand
from tests.system.deploy.machines import sshd
from tests.unit.deploy.stand_in import MACHINE

LAYER = random.Random(1).randbytes(5 * 10**6)
CUT_AFTER = 3_000_000


@contextlib.contextmanager
def cut(port: int, count: int) -> Iterator[int]:
    """Give a port that leads to `port` until it has passed on `count` bytes, then breaks."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            client, _ = listener.accept()
            server = socket.create_connection(("127.0.0.1", port))
            back = threading.Thread(target=_copy, args=(server, client, 1 << 40))
            back.start()
            _copy(client, server, count)
            time.sleep(1)  # a reset loses what its receiver has not read yet
            for end in (client, server):
                # With no time to linger, the other side gets a reset.
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
            back.join()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()
        thread.join(timeout=20)


def _copy(source: socket.socket, target: socket.socket, count: int) -> None:
    with contextlib.suppress(OSError):
        while count > 0 and (data := source.recv(min(count, 65536))):
            target.sendall(data)
            count -= len(data)


def test_what_came_before_the_cut_is_not_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("piimage.deploy.pi.MACHINE", MACHINE)
    monkeypatch.setattr(system, "_RESTART_S", 20.0)
    stand = SlotsStand(tmp_path)
    wish = stand.wish({"kernel.img": KERNEL, "layers/new.squashfs": LAYER})
    with sshd(tmp_path, f"ForceCommand {stand.command}") as server:

        def pi(port: int) -> PiTarget:
            config = tmp_path / f"config-{port}"
            config.write_text(
                f"HostKeyAlias [127.0.0.1]:{server.port}\n{server.config.read_text()}"
            )
            host, runner = Host("pi", "127.0.0.1", "root", port), Runner()
            ssh = Ssh(runner, config, ask=False)
            return PiTarget(host, wish, ssh, stand.store, runner, threading.Event())

        with cut(server.port, CUT_AFTER) as port, pytest.raises(PiimageError) as caught:
            pi(port).deploy(lambda line: None)
        assert caught.value.code in ("deploy.lost", "deploy.no-connection")
        (part,) = (stand.pi.root / "data/piimage/system/files").glob("*.part")
        brought = part.stat().st_size
        assert CUT_AFTER - 1_000_000 < brought < CUT_AFTER
        outcome = pi(server.port).deploy(lambda line: None)
    rest = len(LAYER) - brought
    assert rest < outcome.sent < rest + 20_000
    data = stand.slot(3)
    assert FatReader(data, 0, len(data), "slot").read("layers/new.squashfs") == LAYER
