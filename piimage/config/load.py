"""Files to models: every error of an input at once, each as ``file:line:column: what; instead``."""

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import ValidationError

from piimage.boards import search_path
from piimage.boundary import boundary, require_inside
from piimage.composefile.recognise import is_compose
from piimage.config.checks import appliance_errors, boundary_errors, folder_errors
from piimage.config.container import ContainerConfig
from piimage.config.models import Appliance
from piimage.config.paths import APPLIANCE_PATHS, FOLDER_PATHS, packages_built
from piimage.config.values import Part
from piimage.document.document import Document, parse_document, read_document, with_paths
from piimage.errors import ErrorGroup, InputError, PiimageError, raise_all

if TYPE_CHECKING:
    from piimage.config.module import KernelModule
    from piimage.config.service import Service
    from piimage.config.system import SystemLayer

_VARIABLE_CODES: Final = ("config.unset-variable", "config.bad-variable")

Model = TypeVar("Model", bound=Part)


def load(
    files: Sequence[Path],
    sets: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Appliance:
    """Read `files`, merged in turn, with `sets` (``a.b=VALUE`` or ``NAME=VALUE``) applied.

    `environment` gives the values of ``${NAME}``. Paths in the result are absolute: each was
    resolved against the file that says it.

    Raises InputError (or an ErrorGroup of them) with everything that is wrong.
    """
    document, errors = read_document(files, sets, environment or {})
    _refuse_compose(document)
    document = with_paths(document, APPLIANCE_PATHS)
    checks = appliance_errors(document, search_path(files, environment or {}))
    return _validated(Appliance, packages_built(document.data()), document, [*errors, *checks])


def _refuse_compose(document: Document) -> None:
    if is_compose(document):
        file = document.root.items["services"].at.source
        raise InputError(
            "config.compose",
            "this is a Compose file: its services are a mapping by their names",
            place=str(document.root.keys["services"]),
            hint=f"instead: piimage import {shlex.quote(file)}, which writes the file for it",
        )


def load_all(
    files: Sequence[Path],
    sets: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Appliance:
    """Read `files` as `load` does, and the service.yml or module.yml of every folder they name.

    Raises InputError (or an ErrorGroup of them) with everything that is wrong in any of them.
    """
    appliance = load(files, sets, environment)
    errors: list[PiimageError] = []
    reads: list[tuple[Path, Callable[[Path], object]]] = [
        *((one, partial(load_folder, context=up)) for one, up in _folders(appliance)),
        *((Path(one.build), _read_module) for one in appliance.modules if one.build is not None),
    ]
    for folder, read in reads:
        try:
            read(folder)
        except ErrorGroup as group:
            errors.extend(group.errors)
        except PiimageError as error:
            errors.append(error)
    raise_all(errors)
    return appliance


def _read_module(folder: Path) -> None:
    """Read a module folder as a build does: its module.yml, and what the module is made of."""
    from piimage.config.module_folder import module_folder  # noqa: PLC0415  # it imports this module

    found = module_folder(folder)
    if found.prebuilt() is None:
        found.sources()


def _folders(appliance: Appliance) -> list[tuple[Path, Path | None]]:
    """Return each folder that is composed once, with what it may read from."""
    entries = (*appliance.onboot, *appliance.services, *appliance.onshutdown)
    found = {
        (one.folder, one.context_folder)
        for one in entries
        if one.folder and (one.folder / "service.yml").is_file()
    }
    return sorted(found, key=str)


def load_folder(folder: Path, context: Path | None = None) -> "Service":
    """Read the service.yml of a container folder; the paths in it are made absolute.

    They lie within `folder`, or within `context` if that is given. Raises InputError or ErrorGroup
    as `load` does.
    """
    from piimage.config.service import Service  # noqa: PLC0415  # `load` does without it

    file, root = folder / "service.yml", boundary(folder, context)
    require_inside(file, root, str(file))
    document, errors = _read_one(file)
    errors += boundary_errors(document, root)
    return _validated(Service, document.data(), document, errors)


def load_module(folder: Path) -> "KernelModule":
    """Read the module.yml of a module folder, in which everything that it names lies.

    Raises InputError or ErrorGroup as `load` does.
    """
    from piimage.config.module import KernelModule  # noqa: PLC0415  # few files name one

    file = folder / "module.yml"
    require_inside(file, folder, str(file))
    return _load_one(file, KernelModule)


def load_system(file: Path) -> "SystemLayer":
    """Read a layer of the system (appliance/system/NAME.yml).

    Raises InputError or ErrorGroup as `load` does.
    """
    from piimage.config.system import SystemLayer  # noqa: PLC0415

    return _load_one(file, SystemLayer)


def parse_label(text: str, image: str) -> ContainerConfig:
    """Return what the label ``org.mobyproject.config`` of `image` says: JSON, or YAML as LinuxKit.

    Raises InputError or ErrorGroup, the image as the place.
    """
    source = f"{image} (label org.mobyproject.config)"
    document, errors = parse_document(text.encode("utf-8", "surrogateescape"), source)
    return _validated(ContainerConfig, document.data(), document, errors)


def _load_one(file: Path, model: type[Model]) -> Model:
    document, errors = _read_one(file)
    return _validated(model, document.data(), document, errors)


def _read_one(file: Path) -> tuple[Document, list[PiimageError]]:
    document, errors = read_document([file], (), {})
    document = with_paths(document, FOLDER_PATHS)
    return document, [*errors, *folder_errors(document)]


def _validated(
    model: type[Model],
    data: Mapping[str, Any],
    document: Document,
    errors: Iterable[PiimageError],
) -> Model:
    """Return `data` as a `model`, or raise everything that is wrong, in the order of the places."""
    found = list(errors)
    raise_all(one for one in found if one.code == "config.unreadable")  # the rest follows from it
    try:
        made = model.model_validate(data, by_alias=True, by_name=False)
    except ValidationError as error:
        from piimage.config.report import input_errors  # noqa: PLC0415  # only errors need it

        found.extend(input_errors(error, model, document))
    raise_all(_sorted(found))
    return made


def _sorted(errors: Iterable[PiimageError]) -> list[PiimageError]:
    """Sort by place and drop what says nothing new.

    An alias shows the same error at each of its uses, and a variable without a value makes the
    value that it is part of wrong as well.
    """
    unique = {(error.place, error.code, error.message): error for error in errors}
    variables = {error.place for error in unique.values() if error.code in _VARIABLE_CODES}
    kept = (
        error
        for error in unique.values()
        if error.place not in variables or error.code in _VARIABLE_CODES
    )
    return sorted(kept, key=lambda error: _order(error.place or ""))


def _order(place: str) -> tuple[str, int, int]:
    file, _, rest = place.partition(":")
    line, _, column = rest.partition(":")
    return (file, int(line), int(column)) if line.isdigit() and column.isdigit() else (file, 0, 0)
