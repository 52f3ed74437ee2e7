"""The host key of a file, for the verbs that make its card and for those that reach its Pi."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from piimage.card.hostkey import read_host_key
from piimage.config.models import Appliance
from piimage.deploy.hosts import Host
from piimage.deploy.known_hosts import KnownHosts, default_path
from piimage.deploy.mdns import DOMAIN
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
    names = (name, local_name(name))
    KnownHosts(default_path()).add_or_warn(names, public, emit)


def with_host_key(hosts: Sequence[Host], appliance: Appliance) -> tuple[Host, ...]:
    """Return the hosts; those without a host key of their own get the one of the file."""
    key = appliance.ssh.host_key
    if key is None or not Path(key).exists():
        return tuple(hosts)
    public = read_host_key(Path(key)).public
    return tuple(host if host.host_key else replace(host, host_key=public) for host in hosts)


def local_name(hostname: str) -> str:
    """Return the name of a Pi in multicast DNS, which has the first part of its host name."""
    return f"{hostname.partition('.')[0]}{DOMAIN}"


def name_to_expect(appliance: Appliance, hostname: str | None) -> str | None:
    """Return the name to which the Pi will answer; None if no service of the file is mdns."""
    if not any(service.use == "mdns" for service in appliance.services):
        return None
    return local_name((hostname or appliance.hostname).lower())
