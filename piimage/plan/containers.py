"""The steps of the containers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from piimage.compose.containers import ContainerPlan, ContainersLayer, VolumePlan
from piimage.compose.image import image_layers
from piimage.config.container import (
    LABEL,
    ContainerConfig,
    Log,
    linuxkit_defaults,
    merge,
    secure_defaults,
)
from piimage.config.models import Appliance, Entry, Logging
from piimage.container.bundle import folder_name
from piimage.container.spec import READ_ONLY, ROOTS, ContainerKind, container_ids
from piimage.errors import PiimageError, raise_all
from piimage.lock import Lock, LockedImage
from piimage.locking.dockerfiles import base_images, sets_label
from piimage.locking.folders import entries, folder_of
from piimage.locking.grants import gathering, label_request, require_consent, require_granted
from piimage.oci.layout import Image
from piimage.oci.models import Execution
from piimage.plan.composed import Made, composed
from piimage.plan.localtime import with_local_time

if TYPE_CHECKING:
    from piimage.config.rare import Volume


def plan_containers(
    appliance: Appliance, lock: Lock, images: Mapping[str, Image]
) -> ContainersLayer:
    """Return the containers layer; `images` are by reference, or by folder."""
    filled = {volume.name: _volume(volume, images) for volume in appliance.volumes if volume.image}
    folders = {volume.name: f"{_VOLUMES}/{volume.name}" for volume in appliance.volumes}
    folders |= {name: f"{ROOTS}/volumes/{one.folder}" for name, one in filled.items()}
    places = _Places(folders, appliance.data.mount.rstrip("/"))
    ids = container_ids([entry.name for entry in entries(appliance)])
    sections: tuple[tuple[ContainerKind, Sequence[Entry]], ...] = (
        ("onboot", appliance.onboot),
        ("onshutdown", appliance.onshutdown),
        ("services", appliance.services),
    )
    labels = _Labels(appliance, lock, images)
    plans = []
    errors: list[PiimageError] = []
    for kind, section in sections:
        for number, entry in enumerate(section):
            with gathering(errors):
                plans.append(_plan(entry, kind, number, lock, labels, places, appliance.log))
    raise_all(errors)
    return ContainersLayer(tuple(plans), ids, tuple(filled.values()))


def _volume(volume: Volume, images: Mapping[str, Image]) -> VolumePlan:
    assert volume.image is not None  # noqa: S101  # asked for those that have one
    layers = image_layers(images[volume.image])
    content = hashlib.sha256("".join(layer.key for layer in layers).encode()).hexdigest()
    kind = "ro" if volume.readonly else "rw"
    return VolumePlan(f"{volume.name}-{kind}-{content[:12]}", layers, volume.readonly)


def _plan(
    entry: Entry,
    kind: ContainerKind,
    number: int,
    lock: Lock,
    labels: _Labels,
    places: _Places,
    logging: Logging,
) -> ContainerPlan:
    folder = folder_of(entry)
    layers, execution, below = composed(folder, lock) if folder else labels.pulled(entry, kind)
    config = with_local_time(_with_places(merge(below, entry), places))
    if kind == "services":
        config = _with_ring(config, logging)
    return ContainerPlan(
        name=entry.name,
        kind=kind,
        folder=folder_name(kind, number, entry.name),
        config=config.model_dump_json(by_alias=True, exclude_none=True),
        execution=execution.model_dump_json(by_alias=True, exclude_none=True),
        layers=layers,
        place=f"{kind}.{entry.name}",
        profile=_profile(config),
    )


@dataclass(frozen=True)
class _Labels:
    """Images, and whether what their labels ask for was granted."""

    appliance: Appliance
    lock: Lock
    images: Mapping[str, Image]

    def pulled(self, entry: Entry, kind: str) -> Made:
        """Return what an entry by `image:`, or by a Dockerfile, is made of.

        The image's label gives the defaults. Raises what `require_granted` does.
        """
        name = entry.image or entry.build
        assert name is not None  # noqa: S101  # an entry that is not composed has an image
        image = self.images[name]
        execution = image.config.execution
        one = label_request(entry, f"{kind}.{entry.name}", execution, name)
        if one.label is None:
            return image_layers(image), execution, secure_defaults()
        if entry.image is not None:
            require_granted(one, self.appliance.trust, self._pins.get(name))
        else:
            for base in self._speakers(Path(name), execution):
                require_consent(one, self.appliance.trust, base)
        below = merge(linuxkit_defaults(), one.label)
        return image_layers(image), execution, _with_net_settings(below, entry)

    @property
    def _pins(self) -> Mapping[str, LockedImage]:
        return {one.reference: one for one in self.lock.images}

    def _speakers(self, folder: Path, execution: Execution) -> Sequence[LockedImage]:
        """Return the pins of the images whose word the label of a built image may be.

        They are images that the Dockerfile of `folder` names: those that have this very label, or
        all of them where neither they nor the Dockerfile say it (ONBUILD of one did). None if the
        Dockerfile says it itself: that is the folder's word, as a service.yml's is.
        """
        named = [self._pins[one] for one in base_images(folder)]
        said = _text_of(execution)
        same = [p for p in named if _text_of(self.images[p.reference].config.execution) == said]
        return same or ([] if sets_label(folder) else named)


def _text_of(execution: Execution) -> str | None:
    return (execution.labels or {}).get(LABEL)


def _with_net_settings(below: ContainerConfig, entry: Entry) -> ContainerConfig:
    """Return `below` with /proc/sys/net writable, but for its core, for who may set up the network.

    LinuxKit leaves all of /proc writable; its dhcpcd, for one, gives an interface up otherwise. In
    net/core lies what hardens the kernel's BPF compiler, which concerns more than the network.
    """
    said = merge(below, entry)
    if said.readonly_paths is not None or "CAP_NET_ADMIN" not in (said.capabilities or ()):
        return below
    if "CAP_SYS_ADMIN" in (said.capabilities or ()):
        return below
    return below.model_copy(update={"readonly_paths": _READ_ONLY_BUT_NET})


@dataclass(frozen=True)
class _Places:
    """What a bind's source may stand for: a volume, or something below `data` (``data.mount``)."""

    volumes: Mapping[str, str]
    data: str

    def real(self, bind: str) -> str:
        """Return `bind` with the folder that its source stands for."""
        source, colon, where = bind.partition(":")
        if source in self.volumes:
            return f"{self.volumes[source]}{colon}{where}"
        rest = bind.removeprefix(self.data)
        # Bound from /data itself: its folders are made before the start.
        return f"/data{rest}" if rest != bind and rest.startswith(("/", ":")) else bind


def _with_places(config: ContainerConfig, places: _Places) -> ContainerConfig:
    """Return `config` with the sources of its binds as they are on the Pi."""
    if not config.binds:
        return config
    return config.model_copy(update={"binds": tuple(map(places.real, config.binds))})


def _with_ring(config: ContainerConfig, logging: Logging) -> ContainerConfig:
    """Return `config` with the file's ring of output, as far as the service has none of its own."""
    said = config.log.model_dump(include=config.log.model_fields_set) if config.log else {}
    ring = Log.model_validate({"size": logging.size, "count": logging.count} | said)
    return config if ring == Log() else config.model_copy(update={"log": ring})


_VOLUMES = "/var/lib/piimage/volumes"
_SYS = ("abi", "crypto", "debug", "dev", "fs", "kernel", "sunrpc", "user", "vm")
_READ_ONLY_BUT_NET = (
    *(path for path in READ_ONLY if path != "/proc/sys"),
    *(f"/proc/sys/{name}" for name in (*_SYS, "net/core")),
)


def _profile(config: ContainerConfig) -> bytes | None:
    if config.seccomp in (None, "default", "unconfined"):
        return None
    return Path(str(config.seccomp)).read_bytes()
