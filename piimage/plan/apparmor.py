"""The AppArmor profile of a container."""

from __future__ import annotations

from pathlib import Path

from piimage.compose.apparmor import CompiledProfile, Profile, features, shipped
from piimage.config.container import PROFILE_WORDS, ContainerConfig
from piimage.config.models import Appliance
from piimage.container.apparmor import own_profile, shipped_profile
from piimage.errors import InputError, PiimageError


def profile_of(config: ContainerConfig, place: str, appliance: Appliance) -> Profile | None:
    """Return the profile of a container with the merged `config`; None for none.

    A kernel out of an image may have no AppArmor, and runc would start no container with a profile:
    with such a kernel only what the file names is used. Raises InputError ``oci.apparmor`` for a
    profile of the user's that cannot be used.
    """
    if config.apparmor not in PROFILE_WORDS:
        return _own(str(config.apparmor), place)
    if config.apparmor is None and appliance.kernel.image is not None:
        return None
    name = shipped_profile(config)
    return shipped(name) if name is not None else None


def _own(file: str, place: str) -> Profile:
    try:
        own = own_profile(Path(file).read_bytes())
    except PiimageError as error:
        raise InputError(
            error.code,
            f"{file} is not an AppArmor profile that piimage takes: {error.message}",
            place=place,
            hint="write one profile, as apparmor.d(5) describes it",
        ) from error
    return Profile(own.name, CompiledProfile(own.text, features(), place))
