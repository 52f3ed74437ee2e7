"""What no single value shows: names that must be there, be unique, or exclude one another.

The checks look at the document, not at the models, so that they speak even if some value is wrong.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from piimage.config.boundary import is_inside, leading_out, outside
from piimage.config.checks_boot import board_errors, setting_errors
from piimage.config.checks_containers import after_errors, bind_errors, entry_errors, seccomp_errors
from piimage.config.checks_files import (
    file_errors,
    holds,
    host_key_errors,
    laid_errors,
    owner_errors,
    reading_errors,
    secret_errors,
)
from piimage.config.checks_modules import module_errors
from piimage.config.document import Document
from piimage.config.lookup import is_given, maps, name_of, node_at, scalar, scalars
from piimage.config.nodes import ListNode, MapNode, Position, ScalarNode
from piimage.config.paths import PACKAGE, SECTIONS
from piimage.config.values import did_you_mean, quoted
from piimage.errors import InputError


def appliance_errors(document: Document, boards: Sequence[Path] = ()) -> Iterator[InputError]:
    """Give what is wrong in an appliance beside its single values.

    `boards` are the folders where boards are looked for, before piimage's own.
    """
    root = document.root
    for section in SECTIONS:
        for entry in maps(root, section):
            yield from entry_errors(section, entry)
            yield from bind_errors(root, entry)
    yield from chain(
        board_errors(root, boards),
        _duplicates(root, "services", "service"),
        _duplicates(root, "volumes", "volume"),
        _duplicates(root, "modules", "module"),
        after_errors(root),
        file_errors(root),
        laid_errors(root),
        host_key_errors(root),
        owner_errors(root),
        module_errors(root),
        _unsupported_errors(root),
        _wifi_errors(root),
        _check_errors(root),
        setting_errors(root),
    )


def folder_errors(document: Document) -> Iterator[InputError]:
    """Give what is wrong in a tree's description (service.yml) beside its single values."""
    for file in maps(document.root, "files"):
        source = scalar(file, "source")
        if source:
            yield from reading_errors(source, "a path beside this file", Path.exists)
    for one in scalars(document.root, "python"):
        if not holds(Path.is_file, Path(one.text) / "pyproject.toml"):
            yield InputError(
                "config.no-folder",
                f"{one.text!r} is no Python project",
                place=str(one.at),
                hint="instead: a folder with a pyproject.toml",
            )
    yield from seccomp_errors(document.root.items.get("config"))


def boundary_errors(document: Document, root: Path) -> Iterator[InputError]:
    """Give an error for each path of a service.yml that leads out of the folder `root`."""
    files = (scalar(file, "source") for file in maps(document.root, "files"))
    profile = scalar(document.root, "config", "seccomp")
    if profile and not profile.text.startswith("/"):
        profile = None  # a word for one of piimage's own
    for one in filter(None, (*files, profile)):
        for path in leading_out(Path(one.text), root):
            yield outside(path, root, str(one.at))
    # Of a project only some files are read, which `read_project` looks at.
    for one in scalars(document.root, "python"):
        if not is_inside(Path(one.text), root):
            yield outside(Path(one.text), root, str(one.at))


def _duplicates(root: MapNode, section: str, kind: str) -> Iterator[InputError]:
    first: dict[str, Position] = {}
    for entry in maps(root, section):
        name = scalar(entry, "name")
        if name is None:
            continue
        if name.text in first:
            yield InputError(
                "config.duplicate-name",
                f"a second {kind} is called {quoted(name.text)}",
                place=str(name.at),
                hint=f"instead: another name; the first is at {first[name.text]}",
            )
        first.setdefault(name.text, name.at)


def _unsupported_errors(root: MapNode) -> Iterator[InputError]:
    """Give what would silently be left out."""
    for volume in maps(root, "volumes"):
        form = scalar(volume, "format")
        if form and form.text == "oci" and is_given(volume, "image"):
            yield _unsupported(form, "a volume with an image's layout", "format: filesystem")
    for one in (scalar(root, "kernel", "image"), *scalars(root, "init")):
        if one and one.text.startswith(PACKAGE):
            yield _unsupported(one, f"{one.text} here", "push it to a registry and name it by that")


def _unsupported(node: ScalarNode, what: str, instead: str) -> InputError:
    what = f"this version cannot do {what}"
    return InputError("plan.unsupported", what, place=str(node.at), hint=f"instead: {instead}")


def _wifi_errors(root: MapNode) -> Iterator[InputError]:
    wifi = node_at(root, "network", "wifi")
    secret = scalar(wifi, "psk_file")
    if secret:
        yield from secret_errors(secret)
    if isinstance(wifi, MapNode) and not scalar(root, "network", "country"):
        yield InputError(
            "config.no-country",
            "wifi without a country: the radio would stay off",
            place=str(wifi.at),
            hint="instead: country: beside wifi:, two capitals such as JP",
        )


def _check_errors(root: MapNode) -> Iterator[InputError]:
    services = {name_of(entry) for entry in maps(root, "services")}
    checks = node_at(root, "test", "checks")
    for check in checks.items if isinstance(checks, ListNode) else ():
        service = scalar(check, "service")
        if service and service.text not in services:
            yield InputError(
                "config.unknown-service",
                f"the check looks into {quoted(service.text)}, which is no service",
                place=str(service.at),
                hint=f"instead: {did_you_mean(service.text, services)}",
            )
