"""The file that `piimage new` writes: it passes `piimage check`, and shows what else there is."""

import re
from pathlib import PurePath
from typing import Final

from piimage.run import word

_TEMPLATE: Final = """\
# An appliance for {title}.
#   piimage check {file}             what is wrong, if anything
#   piimage build {file} -o out      makes {image}
#   piimage run {image}       boots it in an emulator{emulated}
#   piimage flash /dev/sdX {file}    writes it to a card, and verifies
# Every key: docs/reference/yaml.md, or `piimage schema` for your editor.

board: {board}
hostname: {hostname}

# Who may log in (add the service sshd below):
# ssh:
#   authorized_keys: [~/.ssh/id_ed25519.pub]

# network:
#   country: JP                       # where the radio is; WiFi is off without it
#   wifi: {{ ssid: shed, psk_file: secrets/shed.psk }}
#   ethernet: {{ address: 192.168.1.10/24, gateway: 192.168.1.1, dns: [192.168.1.1] }}
# timezone: Asia/Tokyo

# What the firmware and the kernel are told, beside what the board says:
# boot:
#   config: {{ gpio: ["17=op,dl"] }}    # lines of config.txt; a list for several of one key
{overlays}#   cmdline: [panic=10]

# Kernel modules, loaded at boot in this order:
# modules:
#   - i2c-dev
#   - build: kernel-modules/mine      # a folder of yours, cross-built

# Run once, one after another, before the services:
# onboot:
#   - {{ name: dhcp, use: dhcp }}

# Kept running. Each names its root file system in one way: use (ready-made), build (a folder of
# yours), image (from a registry), packages (from Debian).
services:
  - name: hello_world
    use: hello_world
  # - {{ name: sshd, use: sshd }}
  # - name: bmp280
  #   use: bmp280
  #   devices: [/dev/i2c-1]
  #   env: [BMP280_ADDRESS=0x77]
  #   health: {{ http: "http://127.0.0.1:9280/healthz", every: 10s }}
  #   restart: {{ policy: always, backoff: 1s..60s }}
  # - name: web
  #   image: nginx:1.27-alpine        # for linux/arm64; the lock file pins its digest
  #   capabilities: [CAP_NET_BIND_SERVICE, CAP_CHOWN, CAP_SETUID, CAP_SETGID]
  #   readonly: false

log:
  console: true                       # what services print appears on the console as well

# The partition that persists; it grows to the card's end at the first boot:
# data: {{ size: rest, mount: /data }}

# files:
#   - {{ path: etc/motd, contents: "hello\\n", mode: "0644" }}

# What `piimage test {file}` checks once every service is healthy:
# test:
#   checks:
#     - {{ run: "ctr -n services.linuxkit tasks ls", expect: hello_world }}
"""


_HOST_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,61}[a-z0-9]")
_YAML_WORDS: Final = ("true", "false", "null")
_OVERLAYS: Final = """\
#   overlays: [{}]                # devices on the header, in place of dtparam= and dtoverlay=
"""


def starting_file(board: str, title: str, file: str, *, emulated: bool, overlay: str | None) -> str:
    """Return the text of a file named `file` for `board`, whose full name is `title`.

    The name of the file becomes the host name, if it can be one. `overlay` is one that the board
    has, if it has any.
    """
    stem = PurePath(file).stem
    return _TEMPLATE.format(
        board=board,
        hostname=stem if _HOST_NAME.fullmatch(stem) and stem not in _YAML_WORDS else board,
        title=title,
        file=word(file),
        image=word(f"out/{stem}.img"),
        overlays="" if overlay is None else _OVERLAYS.format(overlay),
        emulated="" if emulated else " (not this board: it has none)",
    )
