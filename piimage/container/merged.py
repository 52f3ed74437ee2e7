"""The configuration of an entry as far as the file and its container folders have it."""

from __future__ import annotations

from dataclasses import dataclass

from piimage.config.container import ContainerConfig, merge, secure_defaults
from piimage.config.load import load_folder
from piimage.config.models import Entry


@dataclass(frozen=True)
class Placed:
    """A container with its merged configuration, and where the file has it."""

    section: str
    number: int
    name: str
    config: ContainerConfig
    use: str | None = None


def merged(entry: Entry) -> ContainerConfig:
    """Return the defaults, the folder's configuration and that of `entry` in one.

    Labels of images are not known here, and those of a Dockerfile's image neither.
    """
    return merge(secure_defaults(), folder_config(entry), entry)


def folder_config(entry: Entry) -> ContainerConfig | None:
    """Return the configuration in the entry's container folder; None if it has no service.yml."""
    folder = entry.folder
    if folder is None or not (folder / "service.yml").is_file():
        return None
    return load_folder(folder).container
