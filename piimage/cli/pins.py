"""The host key of a card that was just made, noted for the verbs that reach its Pi later."""

from __future__ import annotations

from pathlib import Path

from piimage.card.hostkey import read_host_key
from piimage.config.models import Appliance
from piimage.deploy.known_hosts import KnownHosts, default_path
from piimage.events import Listener


def note_host_key(appliance: Appliance, hostname: str | None, emit: Listener) -> None:
    """Add the file's host key, if it has one, to the known hosts of this user.

    The Pi is called `hostname`, or what the file says; ssh looks a name up in small letters.
    """
    key = appliance.ssh.host_key
    if key is None or not Path(key).exists():
        return
    name = (hostname or appliance.hostname).lower()
    public = read_host_key(Path(key)).public
    local = f"{name.partition('.')[0]}.local"  # mDNS has the first part of the name
    KnownHosts(default_path()).add_or_warn((name, local), public, emit)
