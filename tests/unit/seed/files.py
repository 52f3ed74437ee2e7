"""Files as Raspberry Pi Imager writes them: its src/customization_generator.cpp, by hand."""

from __future__ import annotations

import textwrap

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB6A1zxBkTKdxOd7XKmF5nEANsiDm2ujSIa0ifvsGDxg me@laptop"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGpwXn2k9aNRJvEzC5nVTrjBGuXoZ7xiYd8Yz0n0sK3q"
PSK = "b8f0edd29ba5f3ba8f3f1b7c0e3c9a9a1f2e3d4c5b6a79880f1e2d3c4b5a6978"
HASH = "$y$j9T$8cPBb2SBTb2w5jFPVpZGd1$zJwK8mRkqPV4wJq0uYh9bJ3nQ1vX5c7dE2fG6hI8jK0"

# What both kinds of user begin with: host name and time zone.
USER_DATA_HEAD = """#cloud-config
manage_resolv_conf: false

hostname: orangery
manage_etc_hosts: true
packages:
- avahi-daemon
apt:
  preserve_sources_list: true
  conf: |
    Acquire {
      Check-Date "false";
    };
timezone: Asia/Calcutta
"""

USER_DATA = f"""{USER_DATA_HEAD}keyboard:
  model: pc105
  layout: "de"
user:
  name: pi
  shell: /bin/bash
  lock_passwd: false
  passwd: "{HASH}"
  ssh_authorized_keys:
    - "{KEY}"
    - "{OTHER}"
  sudo: ALL=(ALL) NOPASSWD:ALL
ssh_pwauth: false
runcmd:
  - [ systemctl, enable, --now, ssh ]
  - [ sh, -c, "echo 'pi ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/010_pi-nopasswd" ]
  - [ chmod, '0440', '/etc/sudoers.d/010_pi-nopasswd' ]
  - [ rfkill, unblock, wifi ]
  - [ sh, -c, "for f in /var/lib/systemd/rfkill/*:wlan; do echo 0 > \\"$f\\"; done" ]
"""

# Of version 1, from what its OptionsPopup.qml puts together.
USER_DATA_1 = f"""#cloud-config
hostname: orangery
manage_etc_hosts: true
packages:
- avahi-daemon
apt:
  conf: |
    Acquire {{
      Check-Date "false";
    }};

users:
- name: pi
  groups: users,adm,dialout,audio,netdev,video,plugdev,cdrom,games,input,gpio,spi,i2c,render,sudo
  shell: /bin/bash
  lock_passwd: true
  ssh_authorized_keys:
    - {KEY}
  sudo: ALL=(ALL) NOPASSWD:ALL

timezone: Europe/Vienna
runcmd:
- localectl set-x11-keymap "de" pc105
- setupcon -k --force || true
"""


def network_config(access_point: str, country: str | None = None) -> str:
    """Return network-config for one network: the lines below `access-points:`, and the country."""
    domain = f'      regulatory-domain: "{country}"\n' if country else ""
    points = textwrap.indent(access_point, " " * 8)
    return f"""network:
  version: 2
  ethernets:
    eth0:
      dhcp4: true
      dhcp6: true
      optional: true
  wifis:
    wlan0:
      dhcp4: true
{domain}      access-points:
{points}      optional: true
"""


NETWORK_CONFIG = network_config(
    f'"caf\\xc3\\xa9 \\"x\\"":\n  hidden: true\n  password: "{PSK}"\n', country="NO"
)
NETWORK_CONFIG_OPEN = network_config('"guests":\n  auth:\n    key-management: none\n')

META_DATA = "instance-id: rpi-imager-1764400000000\n"
COMMAND_LINE = " cfg80211.ieee80211_regdom=AT ds=nocloud;i=rpi-imager-1764400000000"
