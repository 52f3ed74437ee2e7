"""The modules that an image needs, of all modules of the kernel.

The build determines the list and its load order, so that a booting Pi does not search. Modules are
stored uncompressed, because squashfs and the initramfs compress them better.
"""

from __future__ import annotations

import lzma
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from piimage.errors import InputError, PiimageError, raise_all
from piimage.kernel.kmodindex import canonical
from piimage.kernel.modinfo import ModuleInfo, normal_name, read_modinfo
from piimage.kernel.package import KernelParts
from piimage.kernel.sensors import WantedChip, modules_of, sensor_chips
from piimage.kernel.symbols import exported_symbols, require_symbols
from piimage.run import Runner
from piimage.steps import Job, Step
from piimage.store import Blob
from piimage.trees import Entry, file, tar_chunks

_LISTS: Final = ("modules.builtin", "modules.builtin.modinfo", "modules.order")
_NEW_INDEX: Final = "modules.weakdep"  # since kmod 33; no program on the Pi reads it
_MAX_MODULE: Final = 64 << 20


@dataclass(frozen=True)
class ModuleTree(Step):
    """The modules of a kernel that the lists below name, with their dependencies.

    The initramfs loads `boot`, and `other_disks` if the card may be on another disk; the system
    loads `late`, and the kernel itself `on_demand`. `extra` are modules built out of tree: for each
    its path under ``updates/``, which depmod and modprobe search before ``kernel/``, and its
    ``.ko``; they must match the Module.symvers in `symbols`. `params` are parameters by module.
    Outputs: ``tree`` (a tar with usr/lib/modules/RELEASE and the files of depmod), ``boot`` (a tar
    with the modules of the initramfs), ``boot-order``, ``other-disks-order`` and ``late-order`` (a
    path and its parameters in each line). A module of ``boot-order`` is not repeated in the others;
    one that `late` and `other_disks` share is in both. The system also loads the drivers of
    `chips`.
    """

    kernel: KernelParts
    boot: tuple[str, ...]
    late: tuple[str, ...]
    extra: tuple[tuple[str, Step], ...] = ()
    symbols: Step | None = None
    params: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    other_disks: tuple[str, ...] = ()
    on_demand: tuple[str, ...] = ()
    chips: tuple[WantedChip, ...] = ()

    @property
    def title(self) -> str:
        """The name of the work."""
        return f"choose {len({*self.boot, *self.other_disks, *self.late})} kernel modules"

    def make(self, job: Job) -> Mapping[str, Blob]:
        """Resolve the dependencies, and index the modules with depmod."""
        release = job.file(self.kernel, "release").read_text()
        with tarfile.open(job.file(self.kernel, "modules"), "r:") as archive:
            supply = Supply(archive, release)
            for name, step in self.extra:
                supply.add_extra(name, job.file(step).read_bytes())
            if self.symbols is not None:
                supply.check_symbols(job.file(self.symbols).read_text())
            raise_all(
                e for name, values in self.params.items() for e in supply.refused(name, values)
            )
            drivers = self._drivers(supply)
            boot = supply.load_order(self.boot)
            other = [name for name in supply.load_order(self.other_disks) if name not in boot]
            late = [n for n in supply.load_order((*self.late, *drivers)) if n not in boot]
            asked_for = supply.load_order(self.on_demand)
            chosen = dict.fromkeys((*boot, *other, *late, *asked_for))
            files = {**supply.files(chosen), **supply.lists()}
            boot_files = supply.files((*boot, *other))
        with job.store.scratch() as folder:
            indexed = _depmod(job.runner, folder, release, files)
        tree = sorted((*files.items(), *indexed.items()))
        return {
            "tree": job.store.add_stream(tar_chunks(_entries(tree))),
            "boot": job.store.add_stream(tar_chunks(_entries(sorted(boot_files.items())))),
            "boot-order": job.store.add_bytes(self.lines(supply, boot)),
            "other-disks-order": job.store.add_bytes(self.lines(supply, other)),
            "late-order": job.store.add_bytes(self.lines(supply, late)),
        }

    def _drivers(self, supply: Supply) -> Sequence[str]:
        """Return the modules of the chips. Raises InputError ``kernel.unknown-sensor``."""
        if not self.chips:
            return ()
        modules, errors = modules_of(self.chips, sensor_chips(supply), supply.release)
        raise_all(errors)
        return modules

    def lines(self, supply: Supply, names: Iterable[str]) -> bytes:
        """Return the arguments of insmod for each of `names`, one module in each line."""
        params = {normal_name(name): values for name, values in self.params.items()}
        words = [(f"/{supply.path(name)}", *_settings(params.get(name, {}))) for name in names]
        return "".join(f"{' '.join(line)}\n" for line in words).encode()


class Supply:
    """All available modules: those of the kernel, and those built out of tree."""

    def __init__(self, archive: tarfile.TarFile, release: str) -> None:
        self._archive = archive
        self.release = release
        self._members = {
            normal_name(member.name): member for member in archive if ".ko" in member.name
        }
        self._extra: dict[str, tuple[str, bytes]] = {}
        self._infos: dict[str, tuple[ModuleInfo, bytes]] = {}
        self._builtin = {normal_name(line) for line in self._text("modules.builtin").split()}

    @property
    def vermagic(self) -> str:
        """The version magic of the kernel's own modules."""
        return self._info(next(iter(self._members)))[0].vermagic

    def add_extra(self, path: str, module: bytes) -> None:
        """Add a module built out of tree as ``updates/PATH``.

        Raises InputError ``kernel.vermagic`` if it was built for another kernel, and
        ``kernel.built-in`` if the kernel has a built-in module of this name.
        """
        info = read_modinfo(module, path)
        if info.vermagic != self.vermagic:
            raise InputError(
                "kernel.vermagic",
                f"the module was built for {info.vermagic!r}, but the kernel is {self.vermagic!r}",
                place=path,
                hint="build the module again with: piimage module build",
            )
        if normal_name(path) in self._builtin:
            raise InputError(
                "kernel.built-in",
                f"{normal_name(path)} is built into the kernel {self.release}",
                place=path,
                hint="use the built-in module, or give your module another name",
            )
        self._extra[normal_name(path)] = (f"usr/lib/modules/{self.release}/updates/{path}", module)

    def check_symbols(self, symvers: str) -> None:
        """Refuse modules out of tree that need other symbols than those in `symvers`."""
        exported = exported_symbols(symvers)
        others = frozenset(self._extra)
        for path, module in self._extra.values():
            require_symbols(module, path, exported, self.release, others)

    def refused(self, name: str, parameters: Iterable[str]) -> Iterator[PiimageError]:
        """Yield an InputError ``kernel.unknown-parameter`` for each parameter not of the module."""
        if normal_name(name) not in {*self._extra, *self._members}:
            return  # built in, or an error of `load_order`
        known = self._info(normal_name(name))[0].parameters
        for parameter in parameters:
            if normal_name(parameter) not in map(normal_name, known):
                yield InputError(
                    "kernel.unknown-parameter",
                    f"the module {name} has no parameter {parameter}",
                    place=f"modules.{name}",
                    hint=f"its parameters are: {', '.join(known) or 'none'}",
                )

    def load_order(self, names: Iterable[str]) -> Sequence[str]:
        """Return `names` and their dependencies, each module after its dependencies.

        Raises InputError ``kernel.unknown-module`` for each name that the kernel does not have.
        """
        order: dict[str, None] = {}
        errors = [error for name in names if (error := self._visit(normal_name(name), order, ()))]
        raise_all(errors)
        return tuple(order)

    @property
    def names(self) -> Sequence[str]:
        """The kernel's own modules."""
        return sorted(self._members)

    @property
    def built_in(self) -> Sequence[str]:
        """The modules that are built into the kernel."""
        return sorted(self._builtin)

    def aliases(self) -> Iterator[tuple[str, str]]:
        """Yield each module with each of its aliases; reads all modules."""
        for name in sorted(self._members):
            yield from ((name, alias) for alias in self.aliases_of(name))

    def names_below(self, folders: Sequence[str]) -> Sequence[str]:
        """Return the kernel's own modules in `folders`, such as ``kernel/drivers/iio/``."""
        places = tuple(f"/{folder}" for folder in folders)
        members = self._members.items()
        return sorted(n for n, member in members if any(p in member.name for p in places))

    def aliases_of(self, name: str) -> Sequence[str]:
        """Return the aliases of one of the kernel's own modules."""
        return read_modinfo(self._unpack(name), name).aliases

    def built_in_aliases(self) -> Iterator[tuple[str, str]]:
        """Yield the same for built-in modules, as far as the kernel's lists have it."""
        for item in self._text("modules.builtin.modinfo").split("\0"):
            module, _, rest = item.partition(".")
            name, _, alias = rest.partition("=")
            if name == "alias":
                yield normal_name(module), alias

    def path(self, name: str) -> str:
        """Return the path of the module in the image."""
        if name in self._extra:
            return self._extra[name][0]
        return self._members[name].name.removesuffix(".xz")

    def files(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return the modules by path."""
        return {self.path(name): self._info(name)[1] for name in names}

    def lists(self) -> dict[str, bytes]:
        """Return the kernel's own lists, which depmod reads, by path."""
        folder = f"usr/lib/modules/{self.release}"
        lists = {f"{folder}/{name}": self._text(name).encode() for name in _LISTS}
        return {path: text for path, text in lists.items() if text}

    def _visit(
        self, name: str, order: dict[str, None], dependents: tuple[str, ...]
    ) -> PiimageError | None:
        if name in order or name in self._builtin or name in dependents:
            return None
        if name not in self._members and name not in self._extra:
            similar = get_close_matches(name, self._members, 1)
            return InputError(
                "kernel.unknown-module",
                f"the kernel {self.release} has no module {name}",
                hint=f"did you mean {similar[0]}?" if similar else "find its name with: modinfo",
            )
        info = self._info(name)[0]
        for dependency in info.soft_before:
            self._visit(dependency, order, (*dependents, name))  # it may be missing
        for dependency in info.depends:
            if error := self._visit(dependency, order, (*dependents, name)):
                return error
        order[name] = None
        return None

    def _info(self, name: str) -> tuple[ModuleInfo, bytes]:
        if name not in self._infos:
            module = self._extra[name][1] if name in self._extra else self._unpack(name)
            self._infos[name] = (read_modinfo(module, name), module)
        return self._infos[name]

    def _unpack(self, name: str) -> bytes:
        member = self._members[name]
        reader = self._archive.extractfile(member)
        data = reader.read() if reader else b""
        if not member.name.endswith(".xz"):
            return data
        try:
            return lzma.LZMADecompressor().decompress(data, _MAX_MODULE)
        except lzma.LZMAError as error:
            raise PiimageError(
                "kernel.bad-module",
                f"the module is damaged ({error})",
                place=member.name,
                hint="remove the kernel from the store with: piimage cache gc",
            ) from error

    def _text(self, name: str) -> str:
        try:
            reader = self._archive.extractfile(f"usr/lib/modules/{self.release}/{name}")
        except KeyError:
            return ""
        return reader.read().decode(errors="replace") if reader else ""


def _depmod(
    runner: Runner, folder: Path, release: str, files: Mapping[str, bytes]
) -> dict[str, bytes]:
    """Return the index files that depmod makes from `files`, by path."""
    for path, data in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    # Some builds of depmod search /lib, others /usr/lib.
    (folder / "lib").symlink_to("usr/lib")
    runner.run(["depmod", "-b", folder, release])
    indexes = (folder / "usr/lib/modules" / release).glob("modules.*")
    paths = {str(path.relative_to(folder)): path for path in indexes if path.name != _NEW_INDEX}
    return {
        name: canonical(path.read_bytes(), name) if name.endswith(".bin") else path.read_bytes()
        for name, path in paths.items()
        if name not in files
    }


def _entries(files: Iterable[tuple[str, bytes]]) -> Iterator[Entry]:
    for path, data in files:
        yield file(path, data)


def _settings(params: Mapping[str, str]) -> Iterator[str]:
    # A value with blanks needs double quotes (Documentation/admin-guide/kernel-parameters.rst).
    for name, text in params.items():
        yield f'{name}="{text}"' if " " in text else f"{name}={text}"
