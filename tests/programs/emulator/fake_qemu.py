"""A stand-in for QEMU that speaks QMP: at each start it does the next deed of a file."""

from __future__ import annotations

import json
import re
import socket
import struct
import sys
import time
from pathlib import Path

TRY = 0x54525931  # "TRY1": kernel-modules/tryboot/tryboot.c, EMULATED | TRY
ORDINARY = 0x54525930


def main(deeds: Path, words: list[str]) -> None:
    """Do what the first line of `deeds` says, and remove it."""
    deed, *others = deeds.read_text().splitlines()
    deeds.write_text("".join(f"{other}\n" for other in others))
    number = next(int(m[1]) for w in words if (m := re.match(r"socket,id=monitor,fd=(\d+)", w)))
    stream = socket.socket(fileno=number).makefile("rw")

    def send(message: dict[str, object]) -> None:
        stream.write(json.dumps(message) + "\n")
        stream.flush()

    send({"QMP": {"version": {}, "capabilities": []}})
    assert json.loads(stream.readline()) == {"execute": "qmp_capabilities"}
    send({"return": {}})
    sys.stdout.write(f"up: {deed}\n")
    sys.stdout.flush()
    if deed == "stay":
        time.sleep(100)
    if deed == "panic":
        sys.stdout.write("[   9.0] Kernel panic - not syncing: no init\n")
        sys.stdout.flush()
    if deed == "watchdog":
        send({"event": "WATCHDOG", "data": {"action": "reset"}})
    reason = "guest-shutdown" if deed == "off" else "guest-reset"
    send({"event": "SHUTDOWN", "data": {"guest": True, "reason": reason}})
    request = json.loads(stream.readline())
    if request["execute"] == "pmemsave":
        flag = {"try": TRY, "cleared": ORDINARY}.get(deed, 0)
        place = request["arguments"]
        assert (place["val"], place["size"]) == (0x40100000, 4)
        Path(place["filename"]).write_bytes(struct.pack("<I", flag))
        send({"return": {}, "id": request["id"]})
        request = json.loads(stream.readline())
    assert request["execute"] == "quit"
    send({"event": "SHUTDOWN", "data": {"guest": False, "reason": "host-qmp-quit"}})
    send({"return": {}})


main(Path(sys.argv[1]), sys.argv[2:])
