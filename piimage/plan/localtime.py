"""Containers know what time it is where the Pi stands."""

from __future__ import annotations

from piimage.config.container import ContainerConfig

_PLACE = "/etc/localtime"
LOCAL_TIME = f"/run/piimage/localtime.tzif:{_PLACE}:ro,bind"


def with_local_time(config: ContainerConfig) -> ContainerConfig:
    """Return `config` with the appliance's time zone mounted where C libraries look for it.

    A container that sets TZ, or brings its own /etc, keeps what it has.
    """
    if any(variable.startswith("TZ=") for variable in config.env or ()):
        return config
    taken = [bind.split(":")[1] for bind in config.binds or () if ":" in bind]
    taken += [mount.destination or "" for mount in config.mounts or ()]
    if {place.rstrip("/") or "/" for place in taken} & {_PLACE, "/etc", "/"}:
        return config
    return config.model_copy(update={"binds": (*(config.binds or ()), LOCAL_TIME)})
