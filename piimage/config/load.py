"""Files to models; all errors of an input at once, as ``file:line:column: message; hint``."""

import functools
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
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

    `environment` has the values of ``${NAME}``. Paths in the result are absolute: a relative path
    starts at the folder of the file that contains it.

    Raises InputError, or an ErrorGroup with all errors.
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
            "this is a Compose file: its services are a mapping by name",
            place=str(document.root.keys["services"]),
            hint=f"convert it with `piimage import {shlex.quote(file)}`",
        )


def load_all(
    files: Sequence[Path],
    sets: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Appliance:
    """Read `files` as `load` does, and the service.yml or module.yml of every folder they name.

    Raises InputError, or an ErrorGroup with the errors of all these files.
    """
    appliance = load(files, sets, environment)
    errors: list[PiimageError] = []
    reads: list[tuple[Path, Callable[[Path], object]]] = [
        *(
            (folder, functools.partial(load_folder, context=root))
            for folder, root in _folders(appliance)
        ),
        *((Path(module.build), _read_module) for module in appliance.modules if module.build),
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
    """Read a module folder as a build does: its module.yml, and the sources or the module."""
    from piimage.config.module_folder import module_folder  # noqa: PLC0415  # it imports this module

    module = module_folder(folder)
    if module.prebuilt() is None:
        module.sources()


def _folders(appliance: Appliance) -> list[tuple[Path, Path | None]]:
    """Return each container folder once, with the folder that its paths may not leave."""
    entries = (*appliance.onboot, *appliance.services, *appliance.onshutdown)
    folders = {
        (entry.folder, entry.context_folder)
        for entry in entries
        if entry.folder and (entry.folder / "service.yml").is_file()
    }
    return sorted(folders, key=str)


def load_folder(folder: Path, context: Path | None = None) -> "Service":
    """Read the service.yml of a container folder; the paths in it are made absolute.

    The paths have to lie within `folder`, or within `context` if that is given.
    Raises InputError or ErrorGroup as `load` does.
    """
    from piimage.config.service import Service  # noqa: PLC0415  # `load` does without it

    file, root = folder / "service.yml", boundary(folder, context)
    require_inside(file, root, str(file))
    document, errors = _read_file(file)
    errors += boundary_errors(document, root)
    return _validated(Service, document.data(), document, errors)


def load_module(folder: Path) -> "KernelModule":
    """Read the module.yml of a module folder; the files that it names have to lie in the folder.

    Raises InputError or ErrorGroup as `load` does.
    """
    from piimage.config.module import KernelModule  # noqa: PLC0415  # few files name one

    file = folder / "module.yml"
    require_inside(file, folder, str(file))
    return _load_file(file, KernelModule)


def load_system(file: Path) -> "SystemLayer":
    """Read a layer of the system (appliance/system/NAME.yml).

    Raises InputError or ErrorGroup as `load` does.
    """
    from piimage.config.system import SystemLayer  # noqa: PLC0415

    return _load_file(file, SystemLayer)


@functools.cache
def load_shipped(file: Path) -> "SystemLayer":
    """Read a layer that piimage ships, which does not change while piimage runs."""
    return load_system(file)


def parse_label(text: str, image: str) -> ContainerConfig:
    """Read the label ``org.mobyproject.config`` of `image`: JSON, or YAML as LinuxKit allows.

    Raises InputError or ErrorGroup, with the image as the place.
    """
    source = f"{image} (label org.mobyproject.config)"
    document, errors = parse_document(text.encode("utf-8", "surrogateescape"), source)
    return _validated(ContainerConfig, document.data(), document, errors)


def _load_file(file: Path, model: type[Model]) -> Model:
    document, errors = _read_file(file)
    return _validated(model, document.data(), document, errors)


def _read_file(file: Path) -> tuple[Document, list[PiimageError]]:
    document, errors = read_document([file], (), {})
    document = with_paths(document, FOLDER_PATHS)
    return document, [*errors, *folder_errors(document)]


def _validated(
    model: type[Model],
    data: Mapping[str, Any],
    document: Document,
    errors: Iterable[PiimageError],
) -> Model:
    """Return `data` as a `model`, or raise all errors, in the order of their places."""
    all_errors = list(errors)
    # An unreadable file causes further errors, which would mislead.
    raise_all(error for error in all_errors if error.code == "config.unreadable")
    try:
        result = model.model_validate(data, by_alias=True, by_name=False)
    except ValidationError as error:
        from piimage.config.report import input_errors  # noqa: PLC0415  # only errors need it

        all_errors.extend(input_errors(error, model, document))
    raise_all(_sorted(all_errors))
    return result


def _sorted(errors: Iterable[PiimageError]) -> list[PiimageError]:
    """Sort by place and drop repeated errors.

    An alias gives the same error at each of its uses, and a variable without a value makes the
    value that contains it invalid as well.
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
