"""Checks across values: names that must exist, must be unique, or exclude one another.

The checks read the document, not the models, so that they also run if some value is invalid.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Final

from piimage.boundary import is_inside, leading_out, outside
from piimage.config.checks_boot import board_errors, setting_errors
from piimage.config.checks_containers import after_errors, bind_errors, entry_errors, profile_errors
from piimage.config.checks_disks import disk_errors
from piimage.config.checks_files import (
    file_errors,
    holds,
    host_key_errors,
    laid_errors,
    owner_errors,
    reading_errors,
    secret_errors,
    signing_errors,
    update_errors,
)
from piimage.config.checks_gpio import gpio_errors
from piimage.config.checks_modules import module_errors
from piimage.config.checks_sensors import sensor_check_errors, sensor_errors
from piimage.config.lookup import is_given, maps, name_of, node_at, repeated, scalar, scalars
from piimage.config.paths import PACKAGE, SECTIONS
from piimage.config.values import did_you_mean, quoted
from piimage.document.document import Document
from piimage.document.nodes import ListNode, MapNode, ScalarNode
from piimage.errors import InputError

_CONTAINERD: Final = "containerd"
_OWN_PREFIX: Final = "piimage-"


def appliance_errors(document: Document, boards: Sequence[Path] = ()) -> Iterator[InputError]:
    """Give the errors of an appliance that concern several values.

    `boards` are the folders that are searched for boards before piimage's own.
    """
    root = document.root
    for section in SECTIONS:
        for entry in maps(root, section):
            yield from entry_errors(section, entry)
            yield from bind_errors(root, entry)
    yield from chain(
        board_errors(root, boards),
        _duplicates(root, ("services",), "service"),
        _reserved_names(root),
        _duplicates(root, ("volumes",), "volume"),
        _duplicates(root, ("modules",), "module"),
        _duplicates(root, ("sensors", "gpio"), "sensor"),
        _duplicates(root, ("disks",), "disk"),
        after_errors(root),
        file_errors(root),
        laid_errors(root),
        host_key_errors(root),
        owner_errors(root),
        signing_errors(root),
        update_errors(root),
        module_errors(root),
        disk_errors(root),
        sensor_errors(root, boards),
        gpio_errors(root, boards),
        sensor_check_errors(root),
        _unsupported_errors(root),
        _wifi_errors(root),
        _check_errors(root),
        setting_errors(root),
    )


def folder_errors(document: Document) -> Iterator[InputError]:
    """Give the errors of a service.yml or system layer that concern several values or files."""
    for file in maps(document.root, "files"):
        source = scalar(file, "source")
        if source:
            yield from reading_errors(source, "a path beside this file", Path.exists)
    for project in scalars(document.root, "python"):
        if not holds(Path.is_file, Path(project.text) / "pyproject.toml"):
            yield InputError(
                "config.no-folder",
                f"{project.text!r} is not a Python project",
                place=str(project.at),
                hint="instead: a folder with a pyproject.toml",
            )
    yield from profile_errors(document.root.items.get("config"))


def boundary_errors(document: Document, root: Path) -> Iterator[InputError]:
    """Give an error for each path of a service.yml that leads out of the folder `root`."""
    files = (scalar(file, "source") for file in maps(document.root, "files"))
    profiles = (scalar(document.root, "config", key) for key in ("seccomp", "apparmor"))
    # One without a slash is the name of one of piimage's own profiles.
    own = (node for node in profiles if node and node.text.startswith("/"))
    for node in filter(None, (*files, *own)):
        for path in leading_out(Path(node.text), root):
            yield outside(path, root, str(node.at))
    # `read_project` checks those files of a project that it reads.
    for project in scalars(document.root, "python"):
        if not is_inside(Path(project.text), root):
            yield outside(Path(project.text), root, str(project.at))


def _duplicates(root: MapNode, sections: Sequence[str], kind: str) -> Iterator[InputError]:
    entries = chain.from_iterable(maps(root, section) for section in sections)
    for name, first in repeated(entries, "name"):
        yield InputError(
            "config.duplicate-name",
            f"two {kind}s are named {quoted(name.text)}",
            place=str(name.at),
            hint=f"rename one; the first is at {first}",
        )


def _reserved_names(root: MapNode) -> Iterator[InputError]:
    """Give an error for each service that process 1 would take for one of the system's."""
    for entry in maps(root, "services"):
        name = scalar(entry, "name")
        if name and (name.text == _CONTAINERD or name.text.startswith(_OWN_PREFIX)):
            yield InputError(
                "config.reserved-name",
                f"{quoted(name.text)} is the name of a service of the system",
                place=str(name.at),
                hint="rename it: neither containerd, nor a name that begins with piimage-",
            )


def _unsupported_errors(root: MapNode) -> Iterator[InputError]:
    """Give an error for each feature that this version does not support."""
    for volume in maps(root, "volumes"):
        form = scalar(volume, "format")
        if form and form.text == "oci" and is_given(volume, "image"):
            yield _unsupported(form, "format: oci with an image", "instead: format: filesystem")
    for image in (scalar(root, "kernel", "image"), *scalars(root, "init")):
        if image and image.text.startswith(PACKAGE):
            hint = "push the image to a registry, and name it as REGISTRY/NAME:TAG"
            yield _unsupported(image, f"{image.text} here", hint)


def _unsupported(node: ScalarNode, feature: str, hint: str) -> InputError:
    message = f"this version does not support {feature}"
    return InputError("plan.unsupported", message, place=str(node.at), hint=hint)


def _wifi_errors(root: MapNode) -> Iterator[InputError]:
    wifi = node_at(root, "network", "wifi")
    for joined in wifi.items if isinstance(wifi, ListNode) else (wifi,):
        if secret := scalar(joined, "psk_file"):
            yield from secret_errors(secret)
    if isinstance(wifi, MapNode | ListNode) and not scalar(root, "network", "country"):
        yield InputError(
            "config.no-country",
            "wifi without a country: the radio stays off",
            place=str(wifi.at),
            hint="add: country: beside wifi:, two capitals such as JP",
        )


def _check_errors(root: MapNode) -> Iterator[InputError]:
    services = {name_of(entry) for entry in maps(root, "services")}
    checks = node_at(root, "test", "checks")
    for check in checks.items if isinstance(checks, ListNode) else ():
        service = scalar(check, "service")
        if service and service.text not in services:
            yield InputError(
                "config.unknown-service",
                f"the check runs in {quoted(service.text)}, which is not a service",
                place=str(service.at),
                hint=f"instead: {did_you_mean(service.text, services)}",
            )
