"""The modules that one image needs, out of all that the kernel has.

The list is settled here, at build time, in load order: a Pi that starts up neither searches nor
guesses. Modules are stored uncompressed, because squashfs and the initramfs compress them better.
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
from piimage.kernel.symbols import exported_symbols, require_symbols
from piimage.run import Runner
from piimage.steps import Job, Step
from piimage.store import Blob
from piimage.trees import Entry, file, tar_chunks

_LISTS: Final = ("modules.builtin", "modules.builtin.modinfo", "modules.order")
_NEW_INDEX: Final = "modules.weakdep"  # since kmod 33; nothing on the Pi reads it
_MAX_MODULE: Final = 64 << 20


@dataclass(frozen=True)
class ModuleTree(Step):
    """The closure of `boot` (loaded by the initramfs), `late` (loaded by the system) and `extra`.

    The initramfs loads `other_disks` as well if what it looks for may be on one of those.
    `extra` are modules built out of tree: for each its path under ``updates/``, which depmod and
    modprobe search before ``kernel/``, and its ``.ko``; `symbols` gives the Module.symvers that
    they have to fit. `params` are the parameters that are set, by module. Outputs: ``tree`` (a tar
    with usr/lib/modules/RELEASE and what depmod makes), ``boot`` (a tar with the initramfs's
    modules), ``boot-order``, ``other-disks-order`` and ``late-order`` (a path and its parameters a
    line). Each is complete by itself if those of the initramfs follow one another: what `late`
    shares with `other_disks` is in both.
    """

    kernel: KernelParts
    boot: tuple[str, ...]
    late: tuple[str, ...]
    extra: tuple[tuple[str, Step], ...] = ()
    symbols: Step | None = None
    params: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    other_disks: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What is being made."""
        return f"choose {len({*self.boot, *self.other_disks, *self.late})} kernel modules"

    def make(self, job: Job) -> Mapping[str, Blob]:
        """Follow the dependencies, and let depmod index the result."""
        release = job.file(self.kernel, "release").read_text()
        with tarfile.open(job.file(self.kernel, "modules"), "r:") as archive:
            supply = Supply(archive, release)
            for name, step in self.extra:
                supply.add_extra(name, job.file(step).read_bytes())
            if self.symbols is not None:
                supply.check_symbols(job.file(self.symbols).read_text())
            raise_all(e for name, given in self.params.items() for e in supply.refused(name, given))
            boot = supply.load_order(self.boot)
            other = [name for name in supply.load_order(self.other_disks) if name not in boot]
            late = [name for name in supply.load_order(self.late) if name not in boot]
            files = {**supply.files((*boot, *other, *late)), **supply.lists()}
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

    def lines(self, supply: Supply, names: Iterable[str]) -> bytes:
        """Return what insmod is given for each of `names`, one a line."""
        params = {normal_name(name): given for name, given in self.params.items()}
        words = [(f"/{supply.path(name)}", *_settings(params.get(name, {}))) for name in names]
        return "".join(f"{' '.join(line)}\n" for line in words).encode()


class Supply:
    """All modules that there are: the kernel's own, and those built out of tree."""

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
        """The version magic that the kernel's own modules carry."""
        return self._info(next(iter(self._members)))[0].vermagic

    def add_extra(self, path: str, module: bytes) -> None:
        """Add a module built out of tree as ``updates/PATH``.

        Raises InputError ``kernel.vermagic`` when it was built for another kernel.
        """
        info = read_modinfo(module, path)
        if info.vermagic != self.vermagic:
            raise InputError(
                "kernel.vermagic",
                f"the module was built for {info.vermagic!r}, the kernel is {self.vermagic!r}",
                place=path,
                hint="build it again with: piimage module build",
            )
        if normal_name(path) in self._builtin:
            raise InputError(
                "kernel.built-in",
                f"the kernel {self.release} has {normal_name(path)} built in",
                place=path,
                hint="use that, or give the module another name",
            )
        self._extra[normal_name(path)] = (f"usr/lib/modules/{self.release}/updates/{path}", module)

    def check_symbols(self, symvers: str) -> None:
        """Refuse modules out of tree that want other symbols than those in `symvers`."""
        exported = exported_symbols(symvers)
        others = frozenset(self._extra)
        for path, module in self._extra.values():
            require_symbols(module, path, exported, self.release, others)

    def refused(self, name: str, given: Iterable[str]) -> Iterator[PiimageError]:
        """Give an InputError ``kernel.unknown-parameter`` for each parameter not of the module."""
        if normal_name(name) not in {*self._extra, *self._members}:
            return  # the kernel's own, or an error of `load_order`
        known = self._info(normal_name(name))[0].parameters
        for parameter in given:
            if normal_name(parameter) not in map(normal_name, known):
                yield InputError(
                    "kernel.unknown-parameter",
                    f"the module {name} has no parameter {parameter}",
                    place=f"modules.{name}",
                    hint=f"it has: {', '.join(known)}" if known else "it has none",
                )

    def load_order(self, names: Iterable[str]) -> Sequence[str]:
        """Return `names` and all that they need, each after what it depends on.

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
        """What could be a module and is built in."""
        return sorted(self._builtin)

    def aliases(self) -> Iterator[tuple[str, str]]:
        """Give each module with each of its patterns of devices, read from all of them."""
        for name in sorted(self._members):
            info = read_modinfo(self._unpack(name), name)
            yield from ((name, alias) for alias in info.aliases)

    def built_in_aliases(self) -> Iterator[tuple[str, str]]:
        """Give the same for what is built in, as far as the kernel's lists say it."""
        for item in self._text("modules.builtin.modinfo").split("\0"):
            module, _, rest = item.partition(".")
            name, _, alias = rest.partition("=")
            if name == "alias":
                yield normal_name(module), alias

    def path(self, name: str) -> str:
        """Return where the module lies in the image."""
        if name in self._extra:
            return self._extra[name][0]
        return self._members[name].name.removesuffix(".xz")

    def files(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return the modules by path."""
        return {self.path(name): self._info(name)[1] for name in names}

    def lists(self) -> dict[str, bytes]:
        """Return the kernel's own lists, which depmod reads, by path."""
        folder = f"usr/lib/modules/{self.release}"
        found = {f"{folder}/{name}": self._text(name).encode() for name in _LISTS}
        return {path: text for path, text in found.items() if text}

    def _visit(
        self, name: str, order: dict[str, None], above: tuple[str, ...]
    ) -> PiimageError | None:
        if name in order or name in self._builtin or name in above:
            return None
        if name not in self._members and name not in self._extra:
            near = get_close_matches(name, self._members, 1)
            return InputError(
                "kernel.unknown-module",
                f"the kernel {self.release} has no module {name}",
                hint=f"did you mean {near[0]}?" if near else "look for its name with: modinfo",
            )
        info = self._info(name)[0]
        for need in info.soft_before:
            self._visit(need, order, (*above, name))  # a soft dependency may be missing
        for need in info.depends:
            if error := self._visit(need, order, (*above, name)):
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
                f"damaged module ({error})",
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
    """Return the index files that depmod makes of `files`, by path."""
    for path, data in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    # Some builds of depmod look below /lib, others below /usr/lib.
    (folder / "lib").symlink_to("usr/lib")
    runner.run(["depmod", "-b", folder, release])
    made = (folder / "usr/lib/modules" / release).glob("modules.*")
    paths = {str(path.relative_to(folder)): path for path in made if path.name != _NEW_INDEX}
    return {
        name: canonical(path.read_bytes(), name) if name.endswith(".bin") else path.read_bytes()
        for name, path in paths.items()
        if name not in files
    }


def _entries(files: Iterable[tuple[str, bytes]]) -> Iterator[Entry]:
    for path, data in files:
        yield file(path, data)


def _settings(params: Mapping[str, str]) -> Iterator[str]:
    # The kernel takes values with blanks in double quotes (Documentation/admin-guide/
    # kernel-parameters.rst).
    for name, text in params.items():
        yield f'{name}="{text}"' if " " in text else f"{name}={text}"
