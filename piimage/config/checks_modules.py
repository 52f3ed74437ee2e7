"""What no single value shows of kernel modules: their folders and parameters."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from piimage.config.checks_files import holds
from piimage.config.lookup import maps, scalar
from piimage.config.values import did_you_mean, quoted
from piimage.document.nodes import MapNode, ScalarNode
from piimage.errors import InputError, PiimageError


def module_errors(root: MapNode) -> Iterator[InputError]:
    """Give what is wrong with module folders and the parameters of modules."""
    for module in maps(root, "modules"):
        build = scalar(module, "build")
        if build and not holds(Path.is_file, Path(build.text) / "module.yml"):
            yield InputError(
                "config.no-folder",
                f"{build.text!r} has no module.yml",
                place=str(build.at),
                hint="give the path of a module folder, relative to this file",
            )
        params = module.items.get("params")
        if isinstance(params, MapNode):
            yield from _parameter_errors(params, _parameters_of(build))


def _parameters_of(build: ScalarNode | None) -> Mapping[str, str]:
    """Return the parameters that a module folder documents; none if it documents none."""
    from piimage.config.load import load_module  # noqa: PLC0415  # it imports this module

    try:
        return load_module(Path(build.text)).parameters if build else {}
    except PiimageError:
        return {}  # the errors of the folder are reported where it is loaded


def _parameter_errors(params: MapNode, known: Mapping[str, str]) -> Iterator[InputError]:
    for name, value in params.items.items():
        if known and name not in known:
            yield InputError(
                "modules.bad-parameter",
                f"the module has no parameter {quoted(name)}",
                place=str(params.keys[name]),
                hint=f"instead: {did_you_mean(name, known)}",
            )
        text = value.text if isinstance(value, ScalarNode) else ""
        if any(letter in text for letter in "\"'*?[\\\n\t") or "  " in text:
            yield InputError(
                "modules.bad-parameter",
                f"the value {quoted(text)} cannot be passed to a module",
                place=str(value.at),
                hint="remove quotes, wildcards, backslashes, tabs and double blanks from it",
            )
