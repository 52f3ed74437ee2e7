"""The time zone of the appliance in its containers."""

from __future__ import annotations

from piimage.config.container import ContainerConfig

_PATH = "/etc/localtime"
LOCAL_TIME = f"/run/piimage/localtime.tzif:{_PATH}:ro,bind"


def with_local_time(config: ContainerConfig) -> ContainerConfig:
    """Return `config` with the appliance's time zone mounted at /etc/localtime.

    A container that sets TZ, or mounts its own /etc, is left as it is.
    """
    if any(variable.startswith("TZ=") for variable in config.env or ()):
        return config
    destinations = [bind.split(":")[1] for bind in config.binds or () if ":" in bind]
    destinations += [mount.destination or "" for mount in config.mounts or ()]
    if {path.rstrip("/") or "/" for path in destinations} & {_PATH, "/etc", "/"}:
        return config
    return config.model_copy(update={"binds": (*(config.binds or ()), LOCAL_TIME)})
