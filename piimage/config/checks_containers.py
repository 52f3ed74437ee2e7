"""What no single value shows of containers: where they come from, and how they depend."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from piimage import resources
from piimage.config.boundary import is_inside, outside
from piimage.config.checks_files import holds, reading_errors
from piimage.config.lookup import is_given, maps, name_of, scalar, scalars
from piimage.config.nodes import MapNode, Node, Position
from piimage.config.paths import PACKAGE
from piimage.config.values import did_you_mean, quoted
from piimage.errors import InputError

# containerd's names (pkg/identifiers/validate.go) have one separator at a time, none at the end.
_RUN_TOGETHER: Final = re.compile("[_.-](?:[_.-]|$)")
_WAYS: Final = ("image", "build", "use", "packages")
_MEANT_FOR: Final = {
    "restart": ("services",),
    "after": ("services",),
    "health": ("services",),
    "stop_timeout": ("services",),
    "log": ("services",),
    "required": ("onboot",),
    "timeout": ("onboot", "onshutdown"),
}


def entry_errors(section: str, entry: MapNode) -> Iterator[InputError]:
    """Give what is wrong in a container of `section`, apart from its binds."""
    ways = [way for way in _WAYS if is_given(entry, way)]
    if len(ways) != 1:
        what = f"has {' and '.join(ways)}" if ways else "has no root file system"
        yield InputError(
            "config.root-file-system",
            f"{name_of(entry)} {what}",
            place=str(entry.keys[ways[1]] if ways else entry.at),
            hint=f"instead: exactly one of {', '.join(_WAYS)}",
        )
    for key, sections in _MEANT_FOR.items():
        if section not in sections and is_given(entry, key):
            yield _misplaced(entry.keys[key], f"{key} means nothing in {section}", sections)
    if is_given(entry, "entrypoint") and not is_given(entry, "packages"):
        yield _misplaced(
            entry.keys["entrypoint"], "entrypoint means nothing without packages", ("command",)
        )
    if section == "services":
        yield from _identifier_errors(entry)
    yield from _folder_errors(entry)
    yield from _context_errors(entry)
    yield from seccomp_errors(entry)


def _context_errors(entry: MapNode) -> Iterator[InputError]:
    context, folder = scalar(entry, "context"), scalar(entry, "build")
    if context is None:
        return
    if folder is None:
        yield _misplaced(context.at, "context means nothing without build", ("build",))
    elif not (Path(folder.text) / "service.yml").is_file():
        yield InputError(
            "config.misplaced",
            "context means nothing for a Dockerfile: that copies from its own folder",
            place=str(context.at),
            hint="instead: `build:` with the folder to copy from, and the Dockerfile in it",
        )
    elif not is_inside(Path(folder.text), Path(context.text)):
        yield outside(Path(folder.text), Path(context.text), str(context.at))


def _identifier_errors(entry: MapNode) -> Iterator[InputError]:
    name = scalar(entry, "name")
    if name is not None and _RUN_TOGETHER.search(name.text):
        yield InputError(
            "config.value",
            f"{quoted(name.text)} is no name that containerd takes",
            place=str(name.at),
            hint="instead: letters and digits between any two of '_', '.' and '-', and at the end",
        )


def _misplaced(at: Position, what: str, where: Iterable[str]) -> InputError:
    hint = f"instead: leave it out, or use {' or '.join(where)}"
    return InputError("config.misplaced", what, place=str(at), hint=hint)


def _folder_errors(entry: MapNode) -> Iterator[InputError]:
    image = scalar(entry, "image")
    build = scalar(entry, "build") or (image if image and image.text.startswith(PACKAGE) else None)
    if build:
        folder = Path(build.text.removeprefix(PACKAGE))
        if not any(holds(Path.is_file, folder / name) for name in ("service.yml", "Dockerfile")):
            what = (
                "has neither service.yml nor Dockerfile"
                if holds(Path.is_dir, folder)
                else "is no folder"
            )
            yield InputError(
                "config.no-folder",
                f"{str(folder)!r} {what}",
                place=str(build.at),
                hint="instead: a container folder, relative to this file",
            )
    use = scalar(entry, "use")
    services = resources.path("services")
    if use and not holds(Path.is_file, services / Path(use.text).name / "service.yml"):
        shipped = sorted(file.parent.name for file in services.glob("*/service.yml"))
        yield InputError(
            "config.no-folder",
            f"piimage ships no container folder {quoted(use.text)}",
            place=str(use.at),
            hint=f"instead: {did_you_mean(use.text, shipped)}; build: for a folder of your own",
        )


def seccomp_errors(node: Node | None) -> Iterator[InputError]:
    """Give the error of a profile that is a file."""
    seccomp = scalar(node, "seccomp")
    if seccomp and seccomp.text.startswith("/"):
        instead = "default, unconfined, or a profile's path relative to this file"
        yield from reading_errors(seccomp, instead)


def bind_errors(root: MapNode, entry: MapNode) -> Iterator[InputError]:
    """Give the binds of volumes that the file does not have."""
    volumes = {name.text for node in maps(root, "volumes") if (name := scalar(node, "name"))}
    for key in ("binds", "binds.add"):
        for bind in scalars(entry, key):
            source, colon, _ = bind.text.partition(":")
            if colon and source and not source.startswith("/") and source not in volumes:
                yield InputError(
                    "config.no-volume",
                    f"there is no volume {quoted(source)}",
                    place=str(bind.at),
                    hint=f"instead: a path that begins with /, or {did_you_mean(source, volumes)}",
                )


def after_errors(root: MapNode) -> Iterator[InputError]:
    """Give services that wait for none, or for one another."""
    places: dict[str, dict[str, Position]] = {}
    for entry in maps(root, "services"):
        waits = {one.text: one.at for one in scalars(entry, "after")}
        places.setdefault(name_of(entry), {}).update(waits)
    for name, waits in places.items():
        for other, at in waits.items():
            if other not in places:
                yield InputError(
                    "config.unknown-service",
                    f"{name} waits for {quoted(other)}, which is no service",
                    place=str(at),
                    hint=f"instead: {did_you_mean(other, set(places) - {name})}",
                )
    yield from _cycle_errors(places)


def _cycle_errors(places: Mapping[str, Mapping[str, Position]]) -> Iterator[InputError]:
    done: set[str] = set()
    for start in places:
        cycle = _cycle(start, places, done)
        if cycle:
            yield InputError(
                "config.cycle",
                f"these services wait for one another: {' -> '.join((*cycle, cycle[0]))}",
                place=str(places[cycle[-1]][cycle[0]]),
                hint="instead: leave out one of these `after:`",
            )


def _cycle(
    start: str, places: Mapping[str, Mapping[str, Position]], done: set[str]
) -> tuple[str, ...]:
    """Return a cycle that `start` leads to, and mark all that was looked at in `done`."""
    trail: list[str] = []
    waiting = [(start, 0)]
    while waiting:
        name, depth = waiting.pop()
        del trail[depth:]
        if name in trail:
            return tuple(trail[trail.index(name) :])
        if name in done or name not in places:
            continue
        done.add(name)
        trail.append(name)
        waiting += [(other, depth + 1) for other in places[name]]
    return ()
