"""The real archive: resolution, checked by independent means, fetching and unpacking."""

from __future__ import annotations

import subprocess
import tarfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from debian.deb822 import Packages, PkgRelation
from debian.debian_support import NativeVersion

from piimage.debian import deb, release
from piimage.debian.fetch import Fetcher
from piimage.debian.index import Archive, Suite
from piimage.debian.mirror import choose
from piimage.debian.package import Package
from piimage.debian.request import Request
from piimage.lock import Lock, parse_lock, render_lock
from piimage.locking.packages import Pinning
from piimage.run import Runner
from piimage.store import Store

PARTS = ("main", "non-free-firmware")
SUITES = (
    Suite("trixie", PARTS),
    Suite("trixie-updates", PARTS),
    Suite("trixie-security", PARTS),
    Suite("trixie-backports", PARTS, automatic=False),
)
REQUESTS = (
    Request("system", ("finit", "containerd", "runc", "busybox-static")),
    Request("kernel", ("linux-image-arm64", "raspi-firmware")),
    Request("service/python", ("python3", "python3-smbus2")),
    Request("service/sshd", ("dropbear-bin",)),
    Request("host", ("linux-kbuild-6.12.117+deb13", "make"), architecture="amd64"),
)


@pytest.fixture(scope="module")
def pinning(tmp_path_factory: pytest.TempPathFactory) -> Pinning:
    store = Store(tmp_path_factory.mktemp("store"))
    mirrors = choose(None)
    archive = Archive(store, Runner(), mirrors, release.keyring(), time.time)
    return Pinning(archive, Fetcher(store, mirrors), SUITES)


@pytest.fixture(scope="module")
def requests(pinning: Pinning) -> tuple[Request, ...]:
    """The requests, with the build tools of the archive's present kernel."""
    kernel = pinning.lock(REQUESTS[1:2])
    image = next(p for p in kernel.packages if p.name.startswith("linux-image-6"))
    abi = image.name.removeprefix("linux-image-").removesuffix("-arm64")
    host = Request("host", (f"linux-kbuild-{abi}", "make"), architecture="amd64")
    return (*REQUESTS[:-1], host)


@pytest.fixture(scope="module")
def lock(pinning: Pinning, requests: tuple[Request, ...]) -> Lock:
    return pinning.lock(requests)


def fields_of(pinning: Pinning, packages: Iterable[Package]) -> Iterator[Packages]:
    for package in packages:
        path = pinning.fetcher.store.verified(package.blob)
        done = subprocess.run(["dpkg-deb", "-f", path], capture_output=True, check=True)
        yield Packages(done.stdout.decode())


def relations(fields: Packages, field: str) -> list[list[dict[str, object]]]:
    return PkgRelation.parse_relations(fields[field]) if field in fields else []  # type: ignore[return-value]


Versions = dict[str, list[NativeVersion | None]]


def satisfied(alternative: dict[str, object], installed: Versions) -> bool:
    versions = installed.get(str(alternative["name"]), [])
    if not alternative["version"]:
        return bool(versions)
    sign, text = alternative["version"]  # type: ignore[misc]
    bound = NativeVersion(str(text))
    signs = {"=": "__eq__", "<<": "__lt__", "<=": "__le__", ">>": "__gt__", ">=": "__ge__"}
    return any(version is not None and getattr(version, signs[sign])(bound) for version in versions)


def provided(chosen: Iterable[Packages]) -> Versions:
    versions: Versions = {}
    for fields in chosen:
        versions.setdefault(fields["Package"], []).append(NativeVersion(fields["Version"]))
        for group in relations(fields, "Provides"):
            for relation in group:
                version = relation.get("version")
                versions.setdefault(str(relation["name"]), []).append(
                    NativeVersion(version[1]) if version else None  # type: ignore[index]
                )
    return versions


def test_every_root_is_complete_and_without_conflicts(pinning: Pinning, lock: Lock) -> None:
    pinning.fetcher.fetch(lock.packages)
    for root in lock.roots:
        chosen = list(fields_of(pinning, lock.of_root(root.name)))
        installed = provided(chosen)
        for fields in chosen:
            name = fields["Package"]
            for field in ("Pre-Depends", "Depends"):
                for group in relations(fields, field):
                    assert any(satisfied(relation, installed) for relation in group), (name, group)
            others = provided(other for other in chosen if other is not fields)
            for field in ("Conflicts", "Breaks"):
                for group in relations(fields, field):
                    assert not any(satisfied(relation, others) for relation in group), name


def test_apt_chooses_the_same_packages(
    pinning: Pinning, requests: tuple[Request, ...], lock: Lock, tmp_path: Path
) -> None:
    apt = Apt(tmp_path, pinning)
    for request in requests[:-1]:
        ours = {(package.name, package.version) for package in lock.of_root(request.root)}
        assert ours == apt.simulate(request.packages), request.root


class Apt:
    """Simulates the installation into an empty arm64 root with apt."""

    def __init__(self, folder: Path, pinning: Pinning) -> None:
        for name in ("lists/partial", "cache/archives/partial", "etc/preferences.d", "dpkg"):
            (folder / name).mkdir(parents=True)
        (folder / "dpkg/status").touch()
        mirrors = pinning.archive.mirrors
        assert mirrors is not None
        sources = "".join(
            f"deb [arch=arm64 signed-by={pinning.archive.keyring}] "
            f"{mirrors.of(suite.name).url} {suite.name} {' '.join(suite.components)}\n"
            for suite in SUITES
        )
        (folder / "etc/sources.list").write_text(sources)
        options = {
            "APT::Architecture": "arm64", "APT::Architectures": "arm64",
            "APT::Install-Recommends": "false", "Dir::Etc": folder / "etc",
            "Dir::Etc::sourcelist": folder / "etc/sources.list", "Dir::Etc::sourceparts": "-",
            "Dir::State::lists": folder / "lists", "Dir::Cache": folder / "cache",
            "Dir::State::status": folder / "dpkg/status", "APT::Sandbox::User": "root",
            "Acquire::Languages": "none", "pkgCacheGen::Essential": "none",
            "Debug::NoLocking": "true",
        }  # fmt: skip
        self._argv = ["apt-get", *(f"-o{name}={value}" for name, value in options.items())]
        subprocess.run([*self._argv, "update"], check=True, capture_output=True)

    def simulate(self, packages: Iterable[str]) -> set[tuple[str, str]]:
        argv = [*self._argv, "-s", "install", *packages]
        done = subprocess.run(argv, check=True, capture_output=True, text=True)
        lines = (line.split() for line in done.stdout.splitlines() if line.startswith("Inst "))
        return {(line[1].partition(":")[0], line[2].removeprefix("(")) for line in lines}


def test_a_package_is_taken_from_backports_if_requested(pinning: Pinning) -> None:
    lock = pinning.lock([Request("kernel", ("linux-image-arm64/trixie-backports",))])
    suites = {package.name: package.suite for package in lock.packages}
    assert suites["linux-image-arm64"] == "trixie-backports"
    assert suites["libc6"] != "trixie-backports"


def test_the_lock_is_read_back_and_names_no_host(pinning: Pinning, lock: Lock) -> None:
    text = render_lock(lock)
    assert parse_lock(text.encode(), "x") == lock
    mirrors = pinning.archive.mirrors
    assert mirrors is not None
    assert "://" not in text
    assert str(mirrors.main).split("/")[2] not in text


def test_a_real_package_is_unpacked_as_by_dpkg(pinning: Pinning, lock: Lock) -> None:
    package = lock.by_key["busybox-static:arm64"]
    pinning.fetcher.fetch([package])
    path = pinning.fetcher.store.verified(package.blob)
    deb.check_identity(Runner(), path, package)
    with (
        deb.data_stream(Runner(), path) as stream,
        tarfile.open(fileobj=stream, mode="r|") as archive,
    ):
        ours = {member.name: (member.size, member.mode, member.linkname) for member in archive}
    listed = subprocess.run(["dpkg-deb", "--fsys-tarfile", path], capture_output=True, check=True)
    theirs = subprocess.run(["tar", "-t"], input=listed.stdout, capture_output=True, check=True)
    assert sorted(name.rstrip("/") for name in theirs.stdout.decode().split()) == sorted(ours)
    assert "./usr/bin/busybox" in ours


def test_resolving_with_stored_indexes_is_quick_and_small(
    pinning: Pinning, requests: tuple[Request, ...], lock: Lock
) -> None:
    # proc(5): 5 makes the present size the peak; earlier tests may have needed more.
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    began = time.process_time()
    again = pinning.lock(requests)
    assert time.process_time() - began < 3
    assert again == lock
    assert resident("VmHWM") - before < 170 << 10


def resident(name: str) -> int:
    """A size of this process in KiB, from proc(5)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{name}:")[2].split()[0])
