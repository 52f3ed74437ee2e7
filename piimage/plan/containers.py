"""The steps that make the containers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from piimage.compose.containers import ContainerPlan, ContainersLayer, VolumePlan
from piimage.compose.image import image_layers
from piimage.config.container import (
    LABEL,
    PROFILE_WORDS,
    ContainerConfig,
    Log,
    laid_over,
    linuxkit_defaults,
    merge,
    secure_defaults,
)
from piimage.config.models import Appliance, Entry, Logging
from piimage.container.bundle import folder_name
from piimage.container.ids import with_range
from piimage.container.spec import READ_ONLY, ROOTS, ContainerKind, container_ids
from piimage.errors import PiimageError, raise_all
from piimage.lock import Lock, LockedImage
from piimage.locking.dockerfiles import base_images, sets_label
from piimage.locking.folders import dockerfile_folder, entries, folder_of
from piimage.locking.grants import gathering, label_request, require_consent, require_granted
from piimage.oci.layout import Image
from piimage.oci.models import Execution
from piimage.plan.apparmor import profile_of
from piimage.plan.bridge import bridged, with_names
from piimage.plan.composed import ContainerParts, dockerfile_labels, folder_parts, of_entry
from piimage.plan.docker import docker_profiles, with_security_files
from piimage.plan.localtime import with_local_time
from piimage.plan.ranges import range_errors

if TYPE_CHECKING:
    from piimage.config.rare import Volume


def plan_containers(
    appliance: Appliance, lock: Lock, images: Mapping[str, Image]
) -> ContainersLayer:
    """Return the containers layer; `images` are by reference, or by folder with a Dockerfile.

    Raises the errors of all entries together.
    """
    filled = {volume.name: _volume(volume, images) for volume in appliance.volumes if volume.image}
    folders = {volume.name: f"{_VOLUMES}/{volume.name}" for volume in appliance.volumes}
    folders |= {name: f"{ROOTS}/volumes/{volume.folder}" for name, volume in filled.items()}
    sources = _BindSources(folders, appliance.data.mount.rstrip("/"))
    ids = container_ids([entry.name for entry in entries(appliance)])
    sections: tuple[tuple[ContainerKind, Sequence[Entry]], ...] = (
        ("onboot", appliance.onboot),
        ("onshutdown", appliance.onshutdown),
        ("services", appliance.services),
    )
    labeled = _Images(appliance, lock, images)
    plans = []
    errors: list[PiimageError] = []
    for kind, section in sections:
        for number, entry in enumerate(section):
            with gathering(errors):
                parts = _parts(entry, kind, lock, labeled)
                own = entry if appliance.init else _with_variables(entry, parts)
                config = _config(own, kind, parts.defaults, sources, appliance.log)
                inner = docker_profiles(entry, appliance)
                config = with_security_files(config) if inner else config
                made = _plan(entry, kind, number, parts, config)
                profile = profile_of(config, made.place, appliance)
                plans.append(replace(made, apparmor=profile, inner=inner))
    raise_all(errors)
    raise_all(range_errors(plans, appliance))
    attached, network = bridged(plans, appliance)
    return ContainersLayer(attached, ids, tuple(filled.values()), network)


def _volume(volume: Volume, images: Mapping[str, Image]) -> VolumePlan:
    assert volume.image is not None  # noqa: S101  # called for volumes with an image
    layers = image_layers(images[volume.image])
    content = hashlib.sha256("".join(layer.key for layer in layers).encode()).hexdigest()
    kind = "ro" if volume.readonly else "rw"
    return VolumePlan(f"{volume.name}-{kind}-{content[:12]}", layers, volume.readonly)


def _parts(entry: Entry, kind: ContainerKind, lock: Lock, images: _Images) -> ContainerParts:
    folder = folder_of(entry)
    if folder is None:
        return images.parts(entry, kind)
    parts = folder_parts(folder, lock)
    return parts if entry.packages is None else of_entry(parts, entry)


def _with_variables(entry: Entry, parts: ContainerParts) -> Entry:
    """Return `entry` with its variables laid over those of its image or folder.

    Files with `init:` are LinuxKit's, where `env:` replaces the image's environment (decision 136).
    """
    if entry.env is None:
        return entry
    lower = parts.defaults.env if parts.defaults.env is not None else parts.execution.env
    return entry.model_copy(update={"env": laid_over(lower or (), entry.env)})


def _config(
    entry: Entry,
    kind: ContainerKind,
    defaults: ContainerConfig,
    sources: _BindSources,
    logging: Logging,
) -> ContainerConfig:
    config = with_range(_with_real_binds(merge(defaults, entry), sources), entry.name)
    config = with_names(with_local_time(config))
    return _with_ring(config, logging) if kind == "services" else config


def _plan(
    entry: Entry, kind: ContainerKind, number: int, parts: ContainerParts, config: ContainerConfig
) -> ContainerPlan:
    return ContainerPlan(
        name=entry.name,
        kind=kind,
        folder=folder_name(kind, number, entry.name),
        config=config,
        execution=parts.execution,
        layers=parts.layers,
        place=f"{kind}.{entry.name}",
        profile=_profile(config),
        labels=parts.labels,
        original=parts.original,
    )


@dataclass(frozen=True)
class _Images:
    """Images, whose labels may request only what was granted."""

    appliance: Appliance
    lock: Lock
    images: Mapping[str, Image]

    def parts(self, entry: Entry, kind: str) -> ContainerParts:
        """Return the parts of an entry with `image:`, or with a Dockerfile.

        The image's label gives the defaults. Raises what `require_granted` and `require_consent`
        raise.
        """
        name = entry.image or entry.build
        assert name is not None  # noqa: S101  # an entry without a container folder has an image
        image = self.images[name]
        execution = image.config.execution
        request = label_request(entry, f"{kind}.{entry.name}", execution, name)
        parts = ContainerParts(
            image_layers(image),
            execution,
            secure_defaults(),
            self._labels(entry, execution),
            image.descriptor,
        )
        if request.label is None:
            return parts
        if entry.image is not None:
            require_granted(request, self.appliance.trust, self._pins.get(name))
        else:
            for base in self._label_bases(Path(name), execution):
                require_consent(request, self.appliance.trust, base)
        defaults = _with_net_settings(merge(linuxkit_defaults(), request.label), entry)
        return replace(parts, defaults=defaults)

    def _labels(self, entry: Entry, execution: Execution) -> Mapping[str, str]:
        """Return the labels that a built image gets; an image of a registry stays as it is."""
        folder = dockerfile_folder(entry)
        if folder is None:
            return {}
        bases = {reference: self.images[reference] for reference in base_images(folder)}
        return dockerfile_labels(folder.absolute().name.lower(), execution.labels, bases)

    @property
    def _pins(self) -> Mapping[str, LockedImage]:
        return {pin.reference: pin for pin in self.lock.images}

    def _label_bases(self, folder: Path, execution: Execution) -> Sequence[LockedImage]:
        """Return the pins of the base images from which the label of a built image may come.

        These are the images in the Dockerfile of `folder` that have the same label. If neither
        they nor the Dockerfile have it, these are all its images: ONBUILD of one of them set the
        label. There are none if the Dockerfile itself sets it: like a service.yml, it is the
        user's own.
        """
        bases = [self._pins[reference] for reference in base_images(folder)]
        label = _label_text(execution)
        same = [b for b in bases if _label_text(self.images[b.reference].config.execution) == label]
        return same or ([] if sets_label(folder) else bases)


def _label_text(execution: Execution) -> str | None:
    return (execution.labels or {}).get(LABEL)


def _with_net_settings(defaults: ContainerConfig, entry: Entry) -> ContainerConfig:
    """Return `defaults` with a writable /proc/sys/net if the container has CAP_NET_ADMIN.

    LinuxKit leaves all of /proc writable, and its dhcpcd gives an interface up if it cannot write
    there. net/core stays read-only: it hardens the kernel's BPF compiler, which concerns more than
    the network.
    """
    config = merge(defaults, entry)
    capabilities = config.capabilities or ()
    if config.readonly_paths is not None or "CAP_NET_ADMIN" not in capabilities:
        return defaults
    if "CAP_SYS_ADMIN" in capabilities:
        return defaults
    return defaults.model_copy(update={"readonly_paths": _READ_ONLY_BUT_NET})


@dataclass(frozen=True)
class _BindSources:
    """The folders on the Pi for sources of binds: volumes by name, and paths in `data`.

    `data` is the file's ``data.mount``.
    """

    volumes: Mapping[str, str]
    data: str

    def real(self, bind: str) -> str:
        """Return `bind` with its source as a path on the Pi."""
        source, colon, rest = bind.partition(":")
        if source in self.volumes:
            return f"{self.volumes[source]}{colon}{rest}"
        inside = bind.removeprefix(self.data)
        # The source becomes /data itself, where the runner creates folders before the start.
        return f"/data{inside}" if inside != bind and inside.startswith(("/", ":")) else bind


def _with_real_binds(config: ContainerConfig, sources: _BindSources) -> ContainerConfig:
    if not config.binds:
        return config
    return config.model_copy(update={"binds": tuple(map(sources.real, config.binds))})


def _with_ring(config: ContainerConfig, logging: Logging) -> ContainerConfig:
    """Return `config` with the file's `log:` for those settings that the service leaves out."""
    own = config.log.model_dump(include=config.log.model_fields_set) if config.log else {}
    ring = Log.model_validate(logging.model_dump(include=set(Log.model_fields)) | own)
    return config if ring == Log() else config.model_copy(update={"log": ring})


_VOLUMES = "/var/lib/piimage/volumes"
_SYS = ("abi", "crypto", "debug", "dev", "fs", "kernel", "sunrpc", "user", "vm")
_READ_ONLY_BUT_NET = (
    *(path for path in READ_ONLY if path != "/proc/sys"),
    *(f"/proc/sys/{name}" for name in (*_SYS, "net/core")),
)


def _profile(config: ContainerConfig) -> bytes | None:
    if config.seccomp in PROFILE_WORDS:
        return None
    return Path(str(config.seccomp)).read_bytes()
