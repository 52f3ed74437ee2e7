"""`userns: auto`: a range of user and group ids of the Pi for each container.

The range depends on the container's name alone: what the container wrote to /data stays its own,
whatever else a deploy changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Final

from piimage.config.container import ContainerConfig
from piimage.config.device import IdMapping
from piimage.container.fault import Fault
from piimage.container.merged import Placed

AUTO: Final = "auto"
SIZE: Final = 0x1_0000
"""The number of ids of a range, of which each program may use all: 0 to 65535."""
# Nobody else gives out ids of this part but systemd-nspawn, which does the same
# (systemd, "Users, Groups, UIDs and GIDs on systemd Systems", Container UID Ranges).
_FIRST: Final = 0x0008_0000
_LAST: Final = 0x6FFF_0000
_RANGES: Final = (_LAST - _FIRST) // SIZE + 1


def first_id(name: str) -> int:
    """Return the id of the Pi that is 0 in the container `name`."""
    digest = hashlib.sha256(name.encode()).digest()
    return _FIRST + int.from_bytes(digest[:8], "big") % _RANGES * SIZE


def with_range(config: ContainerConfig, name: str) -> ContainerConfig:
    """Return the merged `config` of the container `name` with the mappings of `userns: auto`."""
    if config.userns != AUTO or config.uid_mappings or config.gid_mappings:
        return config
    whole = (IdMapping(host_id=first_id(name), container_id=0, size=SIZE),)
    return config.model_copy(update={"userns": "new", "uid_mappings": whole, "gid_mappings": whole})


def has_range(config: ContainerConfig, name: str) -> bool:
    """Tell whether `config` has the mappings of `with_range`."""
    whole = IdMapping(host_id=first_id(name), container_id=0, size=SIZE)
    return config.uid_mappings == (whole,) == config.gid_mappings


def range_faults(containers: Sequence[Placed]) -> Iterator[tuple[Placed, Fault]]:
    """Yield the containers whose range is that of another one: 1 of 28664 is likely to be free."""
    owners: dict[int, str] = {}
    for each in containers:
        if not has_range(with_range(each.config, each.name), each.name):
            continue
        owner = owners.setdefault(first_id(each.name), each.name)
        if owner != each.name:
            message = f"{each.name} would have the same user ids as {owner}"
            yield each, Fault("oci.userns", ("userns",), message, "another name for one of them")
