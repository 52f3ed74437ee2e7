"""Builds wheels for the target from source archives: cross-compiled in the toolchain's sandbox.

The package's build code runs in the sandbox with the build machine's Python. CPython's variables
``_PYTHON_SYSCONFIGDATA_NAME`` and ``_PYTHON_HOST_PLATFORM``, which Debian's cross builds also use,
select the target; the headers are the target's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from piimage.debian.request import Request
from piimage.errors import InputError, PiimageError
from piimage.lock import Lock, LockedWheel
from piimage.lock.roots import TOOLCHAIN
from piimage.python.target import Target
from piimage.steps import Job
from piimage.store import Blob
from piimage.toolchain.roots import COMPILER, toolchain_requests
from piimage.toolchain.steps import Compiled
from piimage.toolchain.tree import Tool, Tools, build_architecture

TOOLS_ROOT: Final = f"{TOOLCHAIN}-python"
"""The root of the compiler and the Python for builds, one for each build machine."""

HEADERS_ROOT: Final = f"{TOOLCHAIN}-python/headers"
"""The root of the target's headers of Python and of the C library."""

_OUT: Final = "dist"
_FAILED: Final = "the build failed:"
_PREFIX: Final = "aarch64-linux-gnu-"
_CC: Final = f"{_PREFIX}{COMPILER}"
_ENVIRONMENT: Final[Mapping[str, str]] = {
    "_PYTHON_SYSCONFIGDATA_NAME": "_sysconfigdata__aarch64-linux-gnu",
    "_PYTHON_HOST_PLATFORM": "linux-aarch64",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "CC": _CC,
    "LDSHARED": f"{_CC} -shared",
    "AR": f"{_PREFIX}ar",
    "ARFLAGS": "rcD",  # no times, no users
    "CFLAGS": "-g0",
    "LDFLAGS": "-s",
}
# Dependencies of maintainer scripts, or of library modules that no build imports.
_WITHOUT: Final = (
    "python3", "python3.13", "media-types", "netbase", "tzdata", "libsqlite3-0", "libdb5.3t64",
    "libreadline8t64", "libncursesw6", "libtinfo6", "libuuid1", "openssl-provider-legacy",
    "libssl3t64", "libpython3.13", "libc-dev-bin", "rpcsvc-proto",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class BuiltWheel(Compiled):
    """Builds a wheel for `target` from the source archive of `package` ``version``: one output."""

    package: str
    version: str
    target: Target

    @property
    def title(self) -> str:
        """The name of the step in messages."""
        return f"build the wheel of {self.name}"

    @property
    def origin(self) -> str:
        """The origin of its files in a layer: ``NAME-VERSION``."""
        return f"{self.package}-{self.version}"

    def file(self, job: Job) -> str:
        """Return the file name of the built wheel."""
        return wheel_name(job.made[self.key])

    def make(self, job: Job) -> Mapping[str, Blob]:
        """Run the package's build.

        Raises PiimageError ``python.source-failed`` with the last lines of a failed build, or if
        the result is not a wheel of `package` for `target`.
        """
        try:
            made = super().make(job)
        except PiimageError as error:
            if error.code not in ("toolchain.failed", "toolchain.no-output"):
                raise
            raise self._failed(error.message.removeprefix(_FAILED).strip()) from error
        if len(made) != 1:
            raise self._failed(f"it made {len(made)} wheels")
        self._check(wheel_name(made))
        return made

    def _check(self, filename: str) -> None:
        try:
            name, version, _, _ = parse_wheel_filename(filename)
        except InvalidWheelFilename as error:
            raise self._failed(str(error)) from None
        if name != canonicalize_name(self.package) or str(version) != self.version:
            raise self._failed(f"it made {filename}, which is not a wheel of {self.name}")
        try:
            self.target.require_fit(filename)
        except PiimageError as error:
            raise self._failed(error.message) from error

    def _failed(self, why: str) -> PiimageError:
        return PiimageError(
            "python.source-failed",
            f"the wheel cannot be built: {why}",
            place=self.name,
            hint="use another version, use Debian's package under packages:, or build a wheel "
            "of it for aarch64 and name its folder's index with --index",
        )


def wheel_name(outputs: Mapping[str, Blob]) -> str:
    """Return the file name of the wheel that a `BuiltWheel` made."""
    (path,) = outputs
    return path.rpartition("/")[2]


def source_requests() -> Iterator[Request]:
    """Give the requests for building sources: tools for each build machine, and headers."""
    extra = ("python3-minimal", "libpython3-stdlib", "python3-setuptools")
    yield from toolchain_requests(TOOLS_ROOT, extra, _WITHOUT)
    yield Request(HEADERS_ROOT, ("libpython3-dev",), _WITHOUT, "arm64")


def built_wheel(source: LockedWheel, target: Target, lock: Lock, machine: str = "") -> BuiltWheel:
    """Return the step that builds the wheel of the archive `source` with the tools of `lock`.

    `machine` is the build machine's architecture (uname -m). Raises InputError
    ``python.source-platform`` for a target without a compiler.
    """
    name = f"{source.name} {source.version}"
    if target.architecture != "arm64":
        raise InputError(
            "python.source-platform",
            f"sources are built only for arm64, not for {target.architecture}",
            place=name,
            hint="omit the platform, or use Debian's package under packages:",
        )
    roots = (f"{TOOLS_ROOT}/{build_architecture(machine)}", HEADERS_ROOT)
    packages = {package.key: package for root in roots for package in lock.of_root(root)}
    tools = Tools(tuple(Tool(f"{p.name}_{p.version}", p.blob) for p in packages.values()))
    program = Path(__file__).with_name("inside.py").read_bytes()
    return BuiltWheel(
        name,
        tools,
        {"inside.py": program, source.filename: source.blob},
        (("python3", "-sP", "inside.py", source.filename, _OUT),),
        (f"{_OUT}/*.whl",),
        _ENVIRONMENT,
        package=source.name,
        version=source.version,
        target=target,
    )
