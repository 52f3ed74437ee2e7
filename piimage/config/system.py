"""A layer of the appliance's own system: appliance/system/NAME.yml."""

from pydantic import Field

from piimage.config.rootfs import RootFileSystem
from piimage.config.values import Name


class SystemLayer(RootFileSystem):
    """A layer of the system below the containers."""

    name: Name = Field(description="The layer's name.")
