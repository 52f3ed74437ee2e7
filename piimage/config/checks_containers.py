"""What no single value shows of containers: where they come from, and how they depend."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from piimage import resources
from piimage.boundary import is_inside, outside
from piimage.config.checks_files import holds, reading_errors
from piimage.config.lookup import is_given, maps, name_of, scalar, scalars
from piimage.config.paths import PACKAGE
from piimage.config.values import did_you_mean, quoted
from piimage.document.nodes import MapNode, Node, Position
from piimage.errors import InputError

# containerd's names (pkg/identifiers/validate.go) have single separators, and none at the end.
_RUN_TOGETHER: Final = re.compile("[_.-](?:[_.-]|$)")
_WAYS: Final = ("image", "build", "use", "packages")
_SECTIONS_OF: Final = {
    "restart": ("services",),
    "after": ("services",),
    "health": ("services",),
    "stop_timeout": ("services",),
    "log": ("services",),
    "before_update": ("services",),
    "control": ("services",),
    "required": ("onboot",),
    "schedule": ("services",),
    "timeout": ("onboot", "onshutdown"),
}


def entry_errors(section: str, entry: MapNode) -> Iterator[InputError]:
    """Give what is wrong in a container of `section`, apart from its binds."""
    ways = [way for way in _WAYS if is_given(entry, way)]
    if len(ways) != 1:
        content = " and ".join(ways) if ways else "no root file system"
        yield InputError(
            "config.root-file-system",
            f"{name_of(entry)} has {content}",
            place=str(entry.keys[ways[1]] if ways else entry.at),
            hint=f"give exactly one of {', '.join(_WAYS)}",
        )
    for key, sections in _SECTIONS_OF.items():
        if key == "timeout" and is_given(entry, "schedule"):
            continue
        if section not in sections and is_given(entry, key):
            yield _misplaced(entry.keys[key], f"{key} has no effect in {section}", sections)
    if is_given(entry, "entrypoint") and not is_given(entry, "packages"):
        yield _misplaced(
            entry.keys["entrypoint"], "entrypoint has no effect without packages", ("command",)
        )
    for key in ("restart", "health", "before_update") if is_given(entry, "schedule") else ():
        if is_given(entry, key):
            message = f"{key} has no effect with schedule: the service is down between its runs"
            yield _misplaced(entry.keys[key], message, ("no schedule",))
    if section == "services":
        yield from _identifier_errors(entry)
    yield from _folder_errors(entry)
    yield from _context_errors(entry)
    yield from profile_errors(entry)


def _context_errors(entry: MapNode) -> Iterator[InputError]:
    context, folder = scalar(entry, "context"), scalar(entry, "build")
    if context is None:
        return
    if folder is None:
        yield _misplaced(context.at, "context has no effect without build", ("build",))
    elif not (Path(folder.text) / "service.yml").is_file():
        yield InputError(
            "config.misplaced",
            "context has no effect for a Dockerfile, which copies from its own folder",
            place=str(context.at),
            hint="name the folder to copy from in `build:`, and put the Dockerfile there",
        )
    elif not is_inside(Path(folder.text), Path(context.text)):
        yield outside(Path(folder.text), Path(context.text), str(context.at))


def _identifier_errors(entry: MapNode) -> Iterator[InputError]:
    name = scalar(entry, "name")
    if name is not None and _RUN_TOGETHER.search(name.text):
        yield InputError(
            "config.value",
            f"{quoted(name.text)} is not a name that containerd accepts",
            place=str(name.at),
            hint="end with a letter or digit, and do not put two of '_', '.' and '-' together",
        )


def _misplaced(at: Position, message: str, alternatives: Iterable[str]) -> InputError:
    hint = f"remove it, or use {' or '.join(alternatives)}"
    return InputError("config.misplaced", message, place=str(at), hint=hint)


def _folder_errors(entry: MapNode) -> Iterator[InputError]:
    image = scalar(entry, "image")
    build = scalar(entry, "build") or (image if image and image.text.startswith(PACKAGE) else None)
    if build:
        folder = Path(build.text.removeprefix(PACKAGE))
        if not any(holds(Path.is_file, folder / name) for name in ("service.yml", "Dockerfile")):
            fault = (
                "has neither service.yml nor Dockerfile"
                if holds(Path.is_dir, folder)
                else "is not a folder"
            )
            yield InputError(
                "config.no-folder",
                f"{str(folder)!r} {fault}",
                place=str(build.at),
                hint="give the path of a container folder, relative to this file",
            )
    use = scalar(entry, "use")
    services = resources.path("services")
    if use and not holds(Path.is_file, services / Path(use.text).name / "service.yml"):
        shipped = sorted(file.parent.name for file in services.glob("*/service.yml"))
        yield InputError(
            "config.no-folder",
            f"piimage ships no container folder {quoted(use.text)}",
            place=str(use.at),
            hint=f"instead: {did_you_mean(use.text, shipped)}; for your own folder use build:",
        )


def profile_errors(node: Node | None) -> Iterator[InputError]:
    """Give the errors of profiles that are files."""
    for profile in filter(None, (scalar(node, "seccomp"), scalar(node, "apparmor"))):
        if profile.text.startswith("/"):
            instead = "default, unconfined, or the path of a profile, relative to this file"
            yield from reading_errors(profile, instead)


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
    scheduled = {name_of(e) for e in maps(root, "services") if is_given(e, "schedule")}
    for entry in maps(root, "services"):
        after = {node.text: node.at for node in scalars(entry, "after")}
        places.setdefault(name_of(entry), {}).update(after)
    for name, after in places.items():
        for other, at in after.items():
            if other in scheduled:
                yield _misplaced(
                    at, f"{name} waits for {other}, which only runs at times", ("another service",)
                )
            if other not in places:
                yield InputError(
                    "config.unknown-service",
                    f"{name} waits for {quoted(other)}, which is not a service",
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
                hint="remove one of these `after:`",
            )


def _cycle(
    start: str, places: Mapping[str, Mapping[str, Position]], done: set[str]
) -> tuple[str, ...]:
    """Return a cycle that is reachable from `start`, and add all visited names to `done`."""
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
