"""Generations: the deployed versions under /data/piimage (appliance/README.md, "Generations")."""

from __future__ import annotations

import os

from piimage_agent import journal
from piimage_agent.layers import drop_parts, find
from piimage_agent.refusal import Refused, is_name
from piimage_agent.root import (
    Root,
    make_folders,
    names,
    read_line,
    read_text,
    remove,
    remove_folder,
    sync_folder,
    write_file,
)

SLOT = "slot"


def running(root: Root) -> str:
    """Return the digest of the containers layer in use."""
    return _target(f"{root.run}/containers")


def of_layer(root: Root, containers: str) -> str:
    """Return the generation that has this containers layer, or the slot; empty if none has."""
    if containers == slot_containers(root):
        return SLOT
    every = (name for name in reversed(names(root.generations)) if name[:6].isdigit())
    found = (linked(root, "current"), linked(root, "previous"), *every)
    return next((name for name in found if name and containers_of(root, name) == containers), "")


def booted(root: Root) -> str:
    """Return the generation that the next boot uses, or the slot."""
    return linked(root, "current") or SLOT


def linked(root: Root, link: str) -> str:
    """Return the generation that `current` or `previous` of this slot leads to; empty if none."""
    return _followed(root, f"{link}.{slot_containers(root)}")


def _followed(root: Root, link: str) -> str:
    name = _target(f"{root.store}/{link}")
    return name if is_name(name) and os.path.isdir(f"{root.generations}/{name}") else ""


def slot_containers(root: Root) -> str:
    """Return the digest of the containers layer that the booted slot ships."""
    return root.facts().get("PIIMAGE_SLOT_CONTAINERS", "")


def _target(link: str) -> str:
    try:
        return os.path.basename(os.readlink(link))
    except OSError:
        return ""


def is_good(root: Root, generation: str) -> bool:
    """Return whether a generation was healthy once."""
    return os.path.exists(f"{root.generations}/{generation}/good")


def containers_of(root: Root, generation: str) -> str:
    """Return the digest of the containers layer of a generation or of the slot."""
    if generation == SLOT:
        return slot_containers(root)
    return read_line(f"{root.generations}/{generation}/containers")


def layers_of(root: Root, generation: str) -> list[str]:
    """Return the digests of all layers of a generation, its containers layer included."""
    listed = read_text(f"{root.generations}/{generation}/layers").split()
    return [*listed, containers_of(root, generation)]


def create(root: Root, containers: str, layers: list[str], note: str) -> str:
    """Write a generation, and return its name. It has no effect until a link leads to it."""
    make_folders(root.generations)
    numbers = [int(name[:6]) for name in names(root.generations) if name[:6].isdigit()]
    name = f"{max(numbers, default=0) + 1:06}-{containers[:12]}"
    folder = f"{root.generations}/{name}"
    beside = f"{root.generations}/new"
    if os.path.isdir(beside):
        remove_folder(beside)
    os.mkdir(beside, 0o755)
    write_file(f"{beside}/containers", f"{containers}\n".encode())
    write_file(f"{beside}/base", f"{slot_containers(root)}\n".encode())
    write_file(f"{beside}/layers", "".join(f"{layer}\n" for layer in layers).encode())
    write_file(f"{beside}/note", f"{note}\n".encode())
    os.rename(beside, folder)
    sync_folder(root.generations)
    return name


def keep(root: Root, name: str, back: str) -> None:
    """Make the next boot use the generation `name`, and `rollback` lead to `back`.

    Each slot has links of its own: a rollback of the system finds the deploys that it had. Power
    may be lost between any two steps: the link `current` is whole at each moment. Raises Refused
    ``keep``.
    """
    try:
        if name != SLOT:
            write_file(f"{root.generations}/{name}/good", b"")
        for link, target in (("current", name), ("previous", back)):
            _lead(f"{root.store}/{link}.{slot_containers(root)}", target)
    except OSError as error:
        raise Refused("keep", f"the next boot cannot be set: {error}") from None
    os.sync()


def _lead(link: str, target: str) -> None:
    """Make a link lead to a generation; the slot has none."""
    remove(link if target == SLOT else f"{link}.new")  # of a change during which power was lost
    if target != SLOT:
        os.symlink(f"generations/{target}", f"{link}.new")
        os.rename(f"{link}.new", link)


def before(root: Root) -> str:
    """Return the target of `rollback`: the previous good generation, the slot, or none (empty)."""
    now, slot = running(root), slot_containers(root)
    previous = linked(root, "previous")
    if previous and _usable(root, previous, slot) and containers_of(root, previous) != now:
        return previous
    return SLOT if slot and slot != now else ""


def _usable(root: Root, generation: str, slot: str) -> bool:
    return (
        is_good(root, generation)
        and read_line(f"{root.generations}/{generation}/base") == slot
        and all(find(root, layer) for layer in layers_of(root, generation))
    )


def collect(root: Root) -> tuple[int, int]:
    """Remove unused generations and layers; return the number of layers and of bytes.

    Those of the other slot are kept too: a rollback of the system uses them again. Nothing is
    removed while a generation that is kept has no list of its layers.
    """
    now = running(root)
    kept = set(_links_of_slots(root))
    every = [name for name in names(root.generations) if is_name(name)]
    kept |= {name for name in every if containers_of(root, name) == now}
    used = {now}
    for name in sorted(kept - {""}):
        if not os.path.exists(f"{root.generations}/{name}/layers"):
            return 0, 0
        used.update(layers_of(root, name))
    for name in every:
        if name not in kept:
            remove_folder(f"{root.generations}/{name}")
    drop_parts(root)
    return _remove_layers(root, used)


def _links_of_slots(root: Root) -> list[str]:
    """Return the generations of the two slots; remove the links of versions that no slot has."""
    bases = {slot_containers(root), *journal.load(root).bases}
    found = []
    for link in names(root.store):
        name, dot, base = link.partition(".")
        if name not in ("current", "previous") or not dot:
            continue
        if base in bases:
            found.append(_followed(root, link))
        else:
            remove(f"{root.store}/{link}")
    return found


def _remove_layers(root: Root, used: set[str]) -> tuple[int, int]:
    count = size = 0
    for name in names(root.layers):
        digest, _, kind = name.partition(".")
        if kind != "squashfs" or digest in used:
            continue
        size += os.lstat(f"{root.layers}/{name}").st_size
        count += 1
        remove(f"{root.layers}/{name}")
    return count, size
