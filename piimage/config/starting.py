"""The file that `piimage new` writes: it passes `piimage check`, and shows what else there is."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

import yaml

from piimage.run import word

_TEMPLATE: Final = """\
# An appliance for {title}.
#   piimage check {file}             what is wrong, if anything
#   piimage build {file} -o out      makes {image}
#   piimage run {image}       boots it in an emulator{emulated}
#   piimage flash /dev/sdX {file}    writes it to a card, and verifies
#   piimage discover                 finds the Pi on the network
# Every key: docs/reference/yaml.md, or `piimage schema` for your editor.

board: {board}
hostname: {hostname_text}

{ssh}
# Without these lines the Pi uses its wired network, by DHCP:
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
#   - {{ name: dhcp, use: dhcp }}       # waits for an address, 20 s at most

# Kept running. Each names its root file system in one way: use (ready-made), build (a folder of
# yours), image (from a registry), packages (from Debian).
services:
  - {{ name: dhcp-renew, use: dhcp-renew }}     # gets an address, and keeps it
  - {{ name: ntp, use: ntp }}                   # sets the clock: a Pi forgets the time
  - {{ name: sshd, use: sshd }}                 # lets in the keys above, and nobody else
  - {{ name: mdns, use: mdns }}                 # answers to {hostname}.local
  - name: hello_world
    use: hello_world
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

_SSH: Final = """\
# The keys that may log in, as root. The build makes host_key, by which every command recognises
# this Pi: keep that file, keep it secret, and out of git.
ssh:
{keys}
  host_key: secrets/{hostname}.key
"""
_NO_KEYS: Final = """\
  # NOBODY CAN LOG IN YET: add a public key. `ssh-keygen -t ed25519` makes a pair.
  # authorized_keys: [~/.ssh/id_ed25519.pub]"""
_OVERLAYS: Final = """\
#   overlays: [{}]                # devices on the header, in place of dtparam= and dtoverlay=
"""
_WORDS: Final = ("true", "false", "null", "yes", "no", "on", "off", "y", "n")
_PLAIN: Final = re.compile(r"[A-Za-z0-9@._+/=-]+(?: [A-Za-z0-9@._+/=-]+)*")
"""Text that YAML and the variables of the file leave as it is."""


@dataclass(frozen=True)
class Starting:
    """What a starting file depends on."""

    board: str
    title: str
    """The board's full name."""
    file: str
    """The name of the file, as the user gave it."""
    hostname: str
    keys: Sequence[str] = ()
    """Lines of authorized_keys."""
    emulated: bool = True
    """Whether QEMU has the board."""
    overlay: str | None = None
    """An overlay that the board has, if it has any."""


def starting_file(start: Starting) -> str:
    """Return the text of the file."""
    return _TEMPLATE.format(
        board=start.board,
        title=start.title,
        file=word(start.file),
        image=word(f"out/{PurePath(start.file).stem}.img"),
        hostname=start.hostname,
        hostname_text=_yaml_text(start.hostname),
        ssh=_SSH.format(keys=_keys(start.keys), hostname=start.hostname),
        overlays="" if start.overlay is None else _OVERLAYS.format(start.overlay),
        emulated="" if start.emulated else " (not this board: it has none)",
    )


def _keys(lines: Sequence[str]) -> str:
    if not lines:
        return _NO_KEYS
    return "\n".join(["  authorized_keys:", *(f"    - {_scalar(line)}" for line in lines)])


def _scalar(text: str) -> str:
    """Return `text` as a YAML scalar; ${NAME} is text, because the file lists no variables."""
    if _PLAIN.fullmatch(text):
        return text
    quoted: str = yaml.safe_dump(text, default_style='"', width=len(text) * 12).strip()
    return quoted


def _yaml_text(name: str) -> str:
    """Return a host name as YAML takes it for text: in quotes where it could be another value."""
    return name if name[:1].isalpha() and name not in _WORDS else f'"{name}"'
