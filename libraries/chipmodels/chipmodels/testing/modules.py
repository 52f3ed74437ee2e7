"""Loads kernel modules, from a folder by system call, or by modprobe of the host."""

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
_PLACES = ":/usr/sbin:/sbin"  # the folders of kmod, which are not in the PATH of every user
_SYS_MODULE = Path("/sys/module")


class ModuleError(Exception):
    """A module cannot be loaded or removed; the message says why, and what to do."""


class Loader(Protocol):
    """Loads and removes modules."""

    def has(self, name: str) -> bool:
        """Return whether the module is loaded or can be loaded."""
        ...

    def load(self, name: str, **parameters: str) -> None:
        """Load a module and its dependencies, unless it is loaded. Raises `ModuleError`."""
        ...

    def remove(self, name: str) -> None:
        """Remove a module. Raises `ModuleError`."""
        ...


def loaded(name: str) -> bool:
    """Return whether the running kernel has the module, built in or loaded."""
    return (_SYS_MODULE / name.replace("-", "_")).is_dir()


def module_bytes(path: Path) -> bytes:
    """Return an unpacked module; Debian 13 compresses them. Raises OSError."""
    data = path.read_bytes()
    try:
        return lzma.decompress(data) if path.suffix == ".xz" else data
    except lzma.LZMAError as error:
        raise OSError(f"{path}: {error}") from None


@dataclass(frozen=True)
class Modules:
    """The folder of the modules of a kernel, with ``modules.dep``, and additional modules."""

    folder: Path
    beside: tuple[Path, ...] = ()

    def has(self, name: str) -> bool:
        """Return whether the folder or the running kernel has the module."""
        return loaded(name) or bool(self._chain(name))

    def known(self, name: str) -> bool:
        """Return whether the kernel of the folder has it, built in or as a module."""
        return bool(self._chain(name)) or _canonical(name) in self._built_in()

    def files(self, name: str) -> list[Path]:
        """Return the files to load for a module, in order; none if it is built in."""
        return self._chain(name)[::-1]

    def load(self, name: str, **parameters: str) -> None:
        """Load a module and its dependencies, unless it is loaded. Raises `ModuleError`."""
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
        """Remove a module. Raises `ModuleError`."""
        _call(1, name, name.replace("-", "_").encode(), os.O_NONBLOCK)

    def _chain(self, name: str) -> list[Path]:
        """Return the file of a module and those of its dependencies, the nearest first."""
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
    # The system calls expect longs, and ctypes leaves the upper half of an int undefined.
    longs = (ctypes.c_long(value) if isinstance(value, int) else value for value in arguments)
    if libc.syscall(ctypes.c_long(_CALLS[platform.machine()][which]), *longs):
        number = ctypes.get_errno()
        raise ModuleError(f"module {name}: {os.strerror(number)}")


@dataclass(frozen=True)
class HostModules:
    """The modules of the running kernel, which modprobe loads."""

    def has(self, name: str) -> bool:
        """Return whether modprobe knows the module and this process may load it."""
        return loaded(name) or (os.geteuid() == 0 and _tool("modprobe", "-n", "-q", name) is None)

    def load(self, name: str, **parameters: str) -> None:
        """Load a module and its dependencies, unless it is loaded. Raises `ModuleError`."""
        if not loaded(name):
            settings = (f"{key}={value}" for key, value in parameters.items())
            self._must("modprobe", name, *settings)

    def remove(self, name: str) -> None:
        """Remove a module. Raises `ModuleError`."""
        self._must("modprobe", "-r", name)

    def _must(self, *command: str) -> None:
        failed = _tool(*command)
        if failed is not None:
            raise ModuleError(f"{' '.join(command)}: {failed}")


def _tool(*command: str) -> str | None:
    """Run a tool, and return its error or None."""
    paths = os.environ.get("PATH", "") + _PLACES
    try:
        done = subprocess.run(
            command, env={"PATH": paths}, capture_output=True, text=True, check=False, timeout=30
        )
    except FileNotFoundError:
        return f"{command[0]} is not installed: apt-get install kmod"
    return None if done.returncode == 0 else done.stderr.strip() or "it failed"
