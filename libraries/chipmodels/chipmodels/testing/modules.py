"""Kernel modules: from a folder of modules by system call, or by the host's modprobe."""

from __future__ import annotations

import ctypes
import lzma
import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

# init_module and delete_module of the system call tables
_CALLS = {"x86_64": (175, 176), "aarch64": (105, 106)}
_PLACES = ":/usr/sbin:/sbin"  # where kmod is, and not every user's PATH
_SYS_MODULE = Path("/sys/module")


class ModuleError(Exception):
    """A module cannot be loaded or removed; the message says why and what to do."""


class Loader(Protocol):
    """What loads modules."""

    def has(self, name: str) -> bool:
        """Whether the module is loaded or could be."""
        ...

    def load(self, name: str, **parameters: str) -> None:
        """Load it with what it depends on, unless it is there. Raises `ModuleError`."""
        ...

    def remove(self, name: str) -> None:
        """Remove it. Raises `ModuleError`."""
        ...


def loaded(name: str) -> bool:
    """Whether the kernel has the module now, built in or loaded."""
    return (_SYS_MODULE / name.replace("-", "_")).is_dir()


def module_bytes(path: Path) -> bytes:
    """A module's file as the kernel wants it; Debian 13 packs them. Raises OSError."""
    data = path.read_bytes()
    try:
        return lzma.decompress(data) if path.suffix == ".xz" else data
    except lzma.LZMAError as error:
        raise OSError(f"{path}: {error}") from None


@dataclass(frozen=True)
class Modules:
    """The folder of one kernel's modules, with its ``modules.dep``, and modules beside it."""

    folder: Path
    beside: tuple[Path, ...] = ()

    def has(self, name: str) -> bool:
        """Whether the folder has it, or the running kernel."""
        return loaded(name) or bool(self._chain(name))

    def known(self, name: str) -> bool:
        """Whether the folder's kernel has it, built in or as a module."""
        return bool(self._chain(name)) or _canonical(name) in self._built_in()

    def files(self, name: str) -> list[Path]:
        """The files to load for it, in their order; none for what is built in."""
        return self._chain(name)[::-1]

    def load(self, name: str, **parameters: str) -> None:
        """Load it with what it depends on, unless it is there. Raises `ModuleError`."""
        if loaded(name):
            return
        chain = self._chain(name)
        if not chain:
            raise ModuleError(
                f"the guest's kernel has no module {name} ({self.folder}): build it for"
                f" {self.folder.name} and name its file in the setting device_nodes_modules"
            )
        for path in reversed(chain[1:]):
            if not loaded(_name(path)):
                self._insert(path, "")
        self._insert(chain[0], " ".join(f"{key}={value}" for key, value in parameters.items()))

    def remove(self, name: str) -> None:
        """Remove it. Raises `ModuleError`."""
        _call(1, name, name.replace("-", "_").encode(), os.O_NONBLOCK)

    def _chain(self, name: str) -> list[Path]:
        """The module's file and those that it depends on, nearest first."""
        for file in self.beside:
            if _name(file) == _canonical(name):
                return [file]
        for line in (self.folder / "modules.dep").read_text().splitlines():
            path, _, needs = line.partition(":")
            if _name(Path(path)) == _canonical(name):
                return [self.folder / path, *(self.folder / need for need in needs.split())]
        return []

    def _built_in(self) -> set[str]:
        try:
            lines = (self.folder / "modules.builtin").read_text().splitlines()
        except FileNotFoundError:
            return set()
        return {_name(Path(line)) for line in lines}

    def _insert(self, path: Path, parameters: str) -> None:
        try:
            data = module_bytes(path)
        except OSError as error:
            raise ModuleError(f"module {_name(path)}: {error}") from None
        _call(0, _name(path), data, len(data), parameters.encode())


def _canonical(name: str) -> str:
    return name.replace("-", "_")


def _name(path: Path) -> str:
    return _canonical(path.name.partition(".ko")[0])


def _call(which: int, name: str, *arguments: int | bytes) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    # The system calls take longs, and ctypes passes an int's upper half as it is.
    longs = (ctypes.c_long(one) if isinstance(one, int) else one for one in arguments)
    if libc.syscall(ctypes.c_long(_CALLS[platform.machine()][which]), *longs):
        number = ctypes.get_errno()
        raise ModuleError(f"module {name}: {os.strerror(number)}")


@dataclass(frozen=True)
class HostModules:
    """The modules of the running kernel, by modprobe."""

    def has(self, name: str) -> bool:
        """Whether this process may load it and modprobe knows it."""
        return loaded(name) or (os.geteuid() == 0 and _tool("modprobe", "-n", "-q", name) is None)

    def load(self, name: str, **parameters: str) -> None:
        """Load it with what it depends on, unless it is there. Raises `ModuleError`."""
        if not loaded(name):
            settings = (f"{key}={value}" for key, value in parameters.items())
            self._must("modprobe", name, *settings)

    def remove(self, name: str) -> None:
        """Remove it. Raises `ModuleError`."""
        self._must("modprobe", "-r", name)

    def _must(self, *command: str) -> None:
        failed = _tool(*command)
        if failed is not None:
            raise ModuleError(f"{' '.join(command)}: {failed}")


def _tool(*command: str) -> str | None:
    """Run a tool; None, or what went wrong."""
    paths = os.environ.get("PATH", "") + _PLACES
    try:
        done = subprocess.run(
            command, env={"PATH": paths}, capture_output=True, text=True, check=False, timeout=30
        )
    except FileNotFoundError:
        return f"{command[0]} is not installed: apt-get install kmod"
    return None if done.returncode == 0 else done.stderr.strip() or "it failed"
