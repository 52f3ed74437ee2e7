"""The fields that are paths: each is resolved relative to the file that contains it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from piimage.document.document import Change
from piimage.signing import IN_TOKEN
from piimage.sshkeys import is_key

SECTIONS: Final = ("onboot", "services", "onshutdown")
"""The sections that are lists of containers."""

PACKAGE: Final = "@pkg:"
"""LinuxKit's prefix of an image that is built from a folder."""

_PROFILE_WORDS: Final = ("default", "unconfined")


def absolute(text: str, source: str) -> str:
    """Return the path `text` of the file `source` as an absolute path; ``~`` is the home folder.

    Paths of `--set` are relative to the working folder.
    """
    folder = Path() if source.startswith("--set ") else Path(source).parent
    try:
        path = Path(text).expanduser()
    except RuntimeError:  # an unknown user's home: a check reports that the file is missing
        path = Path(text)
    return os.path.abspath(folder / path)  # noqa: PTH100  # resolve() would follow links


def _key(text: str, source: str) -> str:
    return text if is_key(text) else absolute(text, source)


def _profile(text: str, source: str) -> str:
    return text if text in _PROFILE_WORDS else absolute(text, source)


def _signing_key(text: str, source: str) -> str:
    return text if text.startswith(IN_TOKEN) else absolute(text, source)


def _package(text: str, source: str) -> str:
    if not text.startswith(PACKAGE):
        return text
    return PACKAGE + absolute(text.removeprefix(PACKAGE), source)


APPLIANCE_PATHS: Final[Mapping[tuple[str, ...], Change]] = {
    **{(section, "*", "build"): absolute for section in SECTIONS},
    **{(section, "*", "context"): absolute for section in SECTIONS},
    **{(section, "*", "apparmor"): _profile for section in SECTIONS},
    **{(section, "*", "seccomp"): _profile for section in SECTIONS},
    **{(section, "*", "image"): _package for section in (*SECTIONS, "volumes")},
    ("init", "*"): _package,
    ("kernel", "image"): _package,
    ("files", "*", "source"): absolute,
    ("modules", "*", "build"): absolute,
    ("network", "wifi", "psk_file"): absolute,
    ("network", "wifi", "*", "psk_file"): absolute,
    ("signing", "certificates", "*"): absolute,
    ("signing", "key"): _signing_key,
    ("ssh", "authorized_keys", "*"): _key,
    ("ssh", "host_key"): absolute,
    ("updates", "ca"): absolute,
}
FOLDER_PATHS: Final[Mapping[tuple[str, ...], Change]] = {
    ("files", "*", "source"): absolute,
    ("python", "*"): absolute,
    ("config", "apparmor"): _profile,
    ("config", "seccomp"): _profile,
}


def packages_built(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an appliance's `data` with its containers' ``image: "@pkg:PATH"`` as ``build:``."""
    return {
        key: [_built(entry) for entry in value]
        if key in SECTIONS and isinstance(value, list)
        else value
        for key, value in data.items()
    }


def _built(entry: object) -> object:
    image = entry.get("image") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(image, str) or not image.startswith(PACKAGE):
        return entry
    rest = {key: value for key, value in entry.items() if key != "image"}
    return {**rest, "build": image.removeprefix(PACKAGE)}
