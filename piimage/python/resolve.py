"""Resolves requirements to wheels with uv, for the target and not for this host.

pip is not used, because it takes environment markers (`; platform_machine == …`) from the Python
that runs it. uv writes a pylock.toml (PEP 751). Nothing is built, so no package's code runs: for a
source archive the setting ``dependency-metadata`` states that it has no dependencies, which uv
would otherwise read from the package's build.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name
from uv import find_uv_bin

from piimage.errors import InputError, MissingTool, PiimageError
from piimage.lock.model import LockedWheel
from piimage.python.index import Index
from piimage.python.target import Target
from piimage.run import Runner

_UNREACHABLE: Final = ("Request failed", "error sending request", "Failed to fetch", "dns error")
_WARNINGS: Final = ("warning:", "WARN")


@dataclass(frozen=True)
class Found:
    """A wheel and its address in the index; the address may contain a password."""

    wheel: LockedWheel
    url: str = field(repr=False)


@dataclass(frozen=True)
class Resolver:
    """Queries the index; `scratch` is a folder for its files."""

    index: Index
    runner: Runner
    scratch: Path

    def resolve(
        self,
        requirements: Sequence[str],
        target: Target,
        place: str,
        preferred: Iterable[LockedWheel] = (),
        sources: Sequence[str] = (),
    ) -> tuple[Found, ...]:
        """Return the wheels of `requirements` and their dependencies, sorted by name.

        `sources` (``NAME==VERSION``) give source archives, whose dependencies must be among the
        requirements. `preferred` versions are kept if the requirements allow them.

        Raises InputError ``python.no-wheel`` with uv's reason if there is no solution;
        PiimageError ``python.index-unreachable``, ``python.resolver``; ``python.wheel-unfit``.
        """
        pins = _pins(preferred)
        asks = _Asks(requirements, tuple(map(_name, sources)), tuple(sources))
        try:
            found = self._chosen(asks, target, place, pins)
        except InputError:
            if not pins:
                raise
            # Not all preferred versions fit: uv decides which of them stay.
            found = self._chosen(asks, target, place, (), _preferences(pins))
        return tuple(_preferred_files(found, target))

    def _chosen(
        self,
        asks: _Asks,
        target: Target,
        place: str,
        pins: Sequence[str],
        known: str = "",
    ) -> tuple[Found, ...]:
        """Return uv's choice, bound to `pins`; the pylock.toml `known` has preferred versions."""
        lock, constraints = self.scratch / "pylock.toml", self.scratch / "constraints.txt"
        constraints.write_text("".join(f"{pin}\n" for pin in pins))
        lock.unlink(missing_ok=True)
        if known:
            lock.write_text(known)
        words = ["--python-platform", target.platform, "--output-file", str(lock)]
        words += ["--constraint", str(constraints)]
        return tuple(self._compile(asks, words, target, place))

    def locate(self, pins: Collection[LockedWheel], target: Target) -> Mapping[str, str]:
        """Return the address of each of `pins` by its SHA-256; those that are gone are missing.

        If the index states no digest, the key is the file's name.
        """
        found: list[Found] = []
        for built in (False, True):
            # A package can be a wheel in one container and be built for another.
            own = [pin for pin in pins if pin.is_source == built]
            exact = tuple(sorted({f"{pin.name}=={pin.version}" for pin in own}))
            names = tuple(sorted({pin.name for pin in own})) if built else ()
            asks = _Asks(exact, names)
            words = ["--python-platform", target.platform, "--no-deps"]
            with contextlib.suppress(InputError):
                found += self._compile(asks, words, target, "the lock") if own else ()
        return {
            chosen.wheel.sha256 or chosen.wheel.filename: self.index.with_login(chosen.url)
            for chosen in found
        }

    def _compile(
        self, asks: _Asks, words: Sequence[str], target: Target, place: str
    ) -> Iterator[Found]:
        settings = self.scratch / "uv.toml"
        settings.write_text(asks.settings())
        command = [
            _uv(), "pip", "compile", "--config-file", str(settings), "--no-header", "--quiet",
            "--no-python-downloads", "--format", "pylock.toml",
            "--index-strategy", "unsafe-best-match",  # all indexes are equal, as for pip
            "--python", sys.executable,  # uv requires a Python, but does not use it here
            "--python-version", target.python, *self.index.words, *asks.words(), *words, "-",
        ]  # fmt: skip
        text = "".join(f"{line}\n" for line in (*asks.requirements, *asks.exact))
        runner = self.runner.with_environment(**self.index.variables)
        done = runner.run(command, stdin=text.encode(), cwd=self.scratch, accept=range(256))
        if done.status != 0:
            raise _failure(done.stderr.decode(errors="replace"), place)
        try:
            document = tomllib.loads(done.text or (self.scratch / "pylock.toml").read_text())
            yield from _wheels(document, self.scratch)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PiimageError(
                "python.resolver",
                f"uv's output is not valid ({type(error).__name__}: {error})",
                place=place,
                hint="install the version of uv in piimage's pyproject.toml",
            ) from error


@dataclass(frozen=True)
class _Asks:
    """Requirements, and the packages that are built from source (`built`, pinned by `exact`)."""

    requirements: Sequence[str]
    built: tuple[str, ...] = ()
    exact: tuple[str, ...] = ()

    def words(self) -> Iterator[str]:
        """Give the options that prevent builds."""
        yield from ("--only-binary", ":all:")
        for name in self.built:
            yield from ("--no-binary", name)

    def settings(self) -> str:
        """Return the content of a uv.toml."""
        block = '[[dependency-metadata]]\nname = "{}"\nrequires-dist = []\n'
        return "".join(map(block.format, self.built))


def _preferred_files(found: Iterable[Found], target: Target) -> Iterator[Found]:
    """Give one file for each package; an index may have several that fit."""
    by_name: dict[str, list[Found]] = {}
    for chosen in found:
        by_name.setdefault(chosen.wheel.name, []).append(chosen)
    for files in by_name.values():
        wheels = [chosen for chosen in files if not chosen.wheel.is_source]
        if wheels:
            yield min(wheels, key=lambda chosen: target.preference(chosen.wheel.filename))
        else:
            yield from files


def _name(source: str) -> str:
    return str(canonicalize_name(source.partition("==")[0]))


def _uv() -> str:
    try:
        return find_uv_bin()
    except FileNotFoundError:
        raise MissingTool(
            "python.no-uv",
            "wheels: needs uv, which is not installed with piimage",
            hint="install it into piimage's environment: pip install uv",
        ) from None


def _pins(preferred: Iterable[LockedWheel]) -> tuple[str, ...]:
    """Return ``NAME==VERSION`` of each package with exactly one preferred version."""
    found: dict[str, set[str]] = {}
    for pin in preferred:
        found.setdefault(pin.name, set()).add(pin.version)
    return tuple(f"{name}=={min(found[name])}" for name in sorted(found) if len(found[name]) == 1)


def _preferences(pins: Iterable[str]) -> str:
    pairs = (pin.split("==") for pin in pins)
    blocks = [f'[[packages]]\nname = "{name}"\nversion = "{version}"\n' for name, version in pairs]
    return "\n".join(['lock-version = "1.0"\ncreated-by = "piimage"\n', *blocks])


def _wheels(document: Mapping[str, Any], folder: Path) -> Iterator[Found]:
    for package in document.get("packages", ()):
        for wheel in (*package.get("wheels", ()), *filter(None, [package.get("sdist")])):
            url = wheel["url"] if "url" in wheel else (folder / wheel["path"]).resolve().as_uri()
            named = wheel.get("name") or unquote(urlsplit(url).path.rpartition("/")[2])
            pin = LockedWheel(
                str(canonicalize_name(package["name"])),
                str(package["version"]),
                named,
                # Not every index states both.
                int(wheel.get("size", 0)),
                str(wheel.get("hashes", {}).get("sha256", "")),
            )
            yield Found(pin, url)


def _failure(output: str, place: str) -> PiimageError:
    lines = [line for line in output.splitlines() if line.strip()]
    lines = [line.removeprefix("error: ") for line in lines if not line.startswith(_WARNINGS)]
    # uv's hints are about its own options, which the user has not typed.
    own = itertools.takewhile(lambda line: not line.strip().startswith("hint:"), lines)
    text = "\n  ".join(own) or "uv printed nothing"
    if any(word in output for word in _UNREACHABLE):
        return PiimageError(
            "python.index-unreachable",
            f"the Python package index cannot be reached: {text}",
            place=place,
            hint="check the network and pip's configuration, or name another index with --index",
        )
    return InputError(
        "python.no-wheel",
        f"the wheels cannot be chosen: {text}",
        place=place,
        hint="use a version that has a wheel for aarch64, use Debian's package under "
        "packages:, build it from source (sources: [NAME==VERSION]), or name another index with "
        "--index",
    )
