"""uv against an index that is a folder: no network, and the tool that people get."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from piimage.config.service import Service
from piimage.debian.package import Package
from piimage.debian.transport import Transport
from piimage.errors import ErrorGroup, InputError, MissingTool, PiimageError
from piimage.lock import Lock, LockedRoot, parse_lock, render_lock
from piimage.locking.folders import ContainerFolder
from piimage.locking.wheels import fetch_wheels, lock_wheels, wheel_names
from piimage.python.fetch import WheelFetcher
from piimage.python.index import Index, choose
from piimage.python.resolve import Resolver
from piimage.python.target import Target
from piimage.run import Runner
from piimage.store import Store
from tests.unit.python.wheels import digest, wheel

TARGET = Target(13, 41)
SITE = "usr/local/lib/python3.13/dist-packages"


class Shelf:
    """A folder that is an index (PEP 503)."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def add(self, name: str, version: str, tags: str = "py3-none-any", requires: str = "") -> str:
        info = f"{name}-{version}.dist-info"
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}"
        files = {
            f"{info}/WHEEL": b"Wheel-Version: 1.0\n",
            f"{info}/METADATA": metadata.encode(),
            f"{name}.py": f"{version} {tags}".encode(),
        }
        filename = f"{name}-{version}-{tags}.whl"
        folder = self.root / "simple" / name
        folder.mkdir(parents=True, exist_ok=True)
        made = _written(folder, filename, files, f"{info}/RECORD")
        page = folder / "index.html"
        known = page.read_text() if page.exists() else ""
        link = f'<a href="{filename}#sha256={_sha256(made)}">{filename}</a>\n'
        page.write_text(known + link)
        return filename

    def add_source(self, name: str, version: str) -> None:
        """An archive that nothing can be learnt from: resolving must not look into it."""
        folder = self.root / "simple" / name
        folder.mkdir(parents=True, exist_ok=True)
        made = folder / f"{name}-{version}.tar.gz"
        made.write_bytes(f"{name} {version}".encode())
        page = folder / "index.html"
        known = page.read_text() if page.exists() else ""
        page.write_text(f'{known}<a href="{made.name}#sha256={_sha256(made)}">{made.name}</a>\n')

    @property
    def address(self) -> str:
        return (self.root / "simple").as_uri()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _written(folder: Path, filename: str, files: Mapping[str, bytes], record: str) -> Path:
    path = folder / filename
    rows = "".join(f"{name},{digest(data)},{len(data)}\n" for name, data in files.items())
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {**files, record: f"{rows}{record},,\n".encode()}.items():
            archive.writestr(name, data)
    return path


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    found = Shelf(tmp_path / "index")
    found.add("thing", "1.0")
    found.add("thing", "2.0", requires="Requires-Dist: part ; platform_machine == 'aarch64'\n")
    found.add("part", "1.0", "cp313-cp313-manylinux_2_17_aarch64")
    found.add("part", "1.0", "cp313-cp313-manylinux_2_17_x86_64")
    found.add("alien", "1.0", "cp313-cp313-manylinux_2_17_x86_64")
    return found


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {"UV_CACHE_DIR": str(tmp_path_factory.mktemp("uv"))}


@pytest.fixture
def resolver(shelf: Shelf, tmp_path: Path, runner: Runner, cache: dict[str, str]) -> Resolver:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    index = Index({"UV_DEFAULT_INDEX": shelf.address, **cache})
    return Resolver(index, runner, scratch)


def names(resolver: Resolver, *asks: str) -> list[str]:
    return [found.wheel.filename for found in resolver.resolve(asks, TARGET, "service.yml")]


def test_markers_and_tags_are_those_of_the_target(resolver: Resolver) -> None:
    assert names(resolver, "thing") == [
        "part-1.0-cp313-cp313-manylinux_2_17_aarch64.whl", "thing-2.0-py3-none-any.whl",
    ]  # fmt: skip


def test_a_package_with_several_wheels_that_fit_gives_the_most_specific(
    shelf: Shelf, resolver: Resolver
) -> None:
    for tags in ("py3-none-any", "cp37-abi3-manylinux_2_28_aarch64",
                 "cp313-cp313-manylinux_2_28_aarch64"):  # fmt: skip
        shelf.add("fast", "1.0", tags)
    assert names(resolver, "fast") == ["fast-1.0-cp313-cp313-manylinux_2_28_aarch64.whl"]


@pytest.mark.provokes("python.no-wheel")
@pytest.mark.parametrize("ask", ["alien", "nothing", "thing==3"])
def test_no_answer_says_why(resolver: Resolver, ask: str) -> None:
    with pytest.raises(InputError, match=ask.partition("=")[0]) as caught:
        names(resolver, ask)
    assert caught.value.code == "python.no-wheel"
    assert "--no-build" not in str(caught.value)


@pytest.mark.provokes("python.index-unreachable")
def test_an_index_that_does_not_answer_is_reported(resolver: Resolver) -> None:
    silent = Index({"UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple", "UV_HTTP_RETRIES": "0"})
    with pytest.raises(PiimageError) as caught:
        names(replace(resolver, index=silent), "thing")
    assert caught.value.code == "python.index-unreachable"


@pytest.mark.provokes("python.resolver")
def test_an_answer_in_another_form_is_refused(
    resolver: Resolver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "uv"
    fake.write_text("#!/bin/sh\necho 'packages = [3]'\n")
    fake.chmod(0o755)
    monkeypatch.setattr("piimage.python.resolve.find_uv_bin", lambda: str(fake))
    with pytest.raises(PiimageError, match="is not valid"):
        names(resolver, "thing")


@pytest.mark.provokes("python.no-uv")
def test_a_missing_uv_is_reported(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> str:
        raise FileNotFoundError("uv")

    monkeypatch.setattr("piimage.python.resolve.find_uv_bin", absent)
    with pytest.raises(MissingTool, match="pip install uv"):
        names(resolver, "thing")


# --- the index of the host's pip


def test_a_login_of_the_index_serves_its_files() -> None:
    index = Index({"UV_DEFAULT_INDEX": "https://u:p@mine/simple", "UV_INDEX": "https://two/s"})
    assert index.with_login("https://mine/files/x.whl") == "https://u:p@mine/files/x.whl"
    for other in ("http://mine/x", "https://two/x", "https://mine.evil/x", "https://a:b@mine/x"):
        assert index.with_login(other) == other


def test_pips_own_settings_are_told_to_uv(tmp_path: Path, runner: Runner) -> None:
    file = tmp_path / "pip.conf"
    file.write_text(
        "[global]\nindex-url = https://one/simple\nextra-index-url =\n  https://two/simple\n"
        "  https://three/simple\n[install]\ntrusted-host = two\n"
    )
    outer = {"PIP_CONFIG_FILE": str(file), "PIP_FIND_LINKS": "/a /b", "HTTPS_PROXY": "http://p"}
    found = choose(None, runner, outer).variables
    assert found["UV_DEFAULT_INDEX"] == "https://one/simple"
    assert found["UV_INDEX"] == "https://two/simple https://three/simple"
    assert found["UV_FIND_LINKS"] == "/a,/b"
    assert found["UV_INSECURE_HOST"] == "two"
    assert found["HTTPS_PROXY"] == "http://p"


def test_pip_without_an_index_is_uv_without_one(runner: Runner) -> None:
    assert choose(None, runner, {"PIP_NO_INDEX": "1"}).words == ("--no-index",)
    assert choose(None, runner, {"PIP_NO_INDEX": "0"}).words == ()


def test_certificates_are_pips_or_the_systems(runner: Runner, tmp_path: Path) -> None:
    empty = {"PIP_CONFIG_FILE": str(tmp_path / "none")}
    assert choose(None, runner, empty).variables["UV_SYSTEM_CERTS"] == "true"
    own = choose(None, runner, {**empty, "PIP_CERT": "/ca.pem"}).variables
    assert own["SSL_CERT_FILE"] == "/ca.pem"


def test_an_index_that_is_named_is_the_only_one(tmp_path: Path, runner: Runner) -> None:
    outer = {"PIP_INDEX_URL": "https://one/simple", "PIP_EXTRA_INDEX_URL": "https://two/simple"}
    found = choose("https://u:secret@mine/simple/", runner, outer)
    assert found.variables["UV_DEFAULT_INDEX"] == "https://u:secret@mine/simple"
    assert "UV_INDEX" not in found.variables
    assert "secret" not in repr(found)
    assert choose(str(tmp_path), runner, {}).variables["UV_DEFAULT_INDEX"] == tmp_path.as_uri()


@pytest.mark.provokes("python.bad-index")
@pytest.mark.parametrize("text", ["mine", "ftp://x/simple", "http://[x/simple"])
def test_what_is_no_address_is_refused(runner: Runner, text: str) -> None:
    with pytest.raises(InputError, match="not the address"):
        choose(text, runner, {})


# --- pins


def package(name: str, version: str) -> Package:
    return Package(name, version, "arm64", "pool/x", 1, "0" * 64, name, version, "trixie")


PACKAGES = (package("libc6", "2.41-12"), package("python3.13-minimal", "3.13.5-2"))
ROOT = LockedRoot("container/x", ("p",), (), "arm64", tuple(package.key for package in PACKAGES))
LOCK = Lock(roots=(ROOT,), packages=PACKAGES)


def folder(*asks: str, sources: Sequence[str] = ()) -> ContainerFolder:
    service = Service.model_validate(
        {"name": "x", "wheels": asks, "sources": sources, "packages": ["python3-minimal"]}
    )
    return ContainerFolder("container/x", Path("x"), service)


class Wheels:
    """What `lock_wheels` opens; counts how often it was asked."""

    def __init__(self, resolver: Resolver | None, store: Store) -> None:
        self.fetcher = WheelFetcher(store, resolver)
        self.opened = 0

    @contextmanager
    def __call__(self) -> Iterator[WheelFetcher]:
        self.opened += 1
        yield self.fetcher


def versions(lock: Lock) -> dict[str, str]:
    return {wheel.name: wheel.version for wheel in lock.wheels}


def test_wheels_are_pinned_without_a_host(resolver: Resolver, store: Store, shelf: Shelf) -> None:
    lock = lock_wheels(LOCK, [folder("thing")], Wheels(resolver, store))
    assert versions(lock) == {"part": "1.0", "thing": "2.0"}
    assert lock.environment("container/x").python == "3.13"
    assert all(wheel.size for wheel in lock.wheels)
    text = render_lock(lock)
    assert parse_lock(text.encode(), "x") == lock
    assert str(shelf.root) not in text
    assert "://" not in text


def test_pins_stay_until_they_are_moved(resolver: Resolver, store: Store, shelf: Shelf) -> None:
    wheels = Wheels(resolver, store)
    old = lock_wheels(LOCK, [folder("thing<2")], wheels)
    same = lock_wheels(old, [folder("thing<2")], Wheels(None, store))
    assert same == old
    more = lock_wheels(old, [folder("thing", "part")], wheels)
    assert versions(more) == {"part": "1.0", "thing": "1.0"}
    forced = lock_wheels(more, [folder("thing>1", "part")], wheels)
    assert versions(forced)["thing"] == "2.0"
    shelf.add("thing", "2.1")
    assert versions(lock_wheels(forced, [folder("thing>1", "part")], wheels))["thing"] == "2.0"
    moved = lock_wheels(forced, [folder("thing>1", "part")], wheels, {"thing"})
    assert versions(moved)["thing"] == "2.1"
    shelf.add("part", "1.1")
    everything = lock_wheels(forced, [folder("thing>1", "part")], wheels, {"*"})
    assert versions(everything)["part"] == "1.1"
    assert wheel_names(moved) == {"thing", "part"}
    assert wheel_names(None) == frozenset()


def test_another_python_chooses_anew(resolver: Resolver, store: Store, shelf: Shelf) -> None:
    old = lock_wheels(LOCK, [folder("part")], Wheels(resolver, store))
    shelf.add("part", "1.0", "cp314-cp314-manylinux_2_17_aarch64")
    newer = (package("python3.14-minimal", "3.14.0-1"), PACKAGES[0])
    root = replace(ROOT, packages=tuple(package.key for package in newer))
    moved = replace(old, roots=(root,), packages=newer)
    lock = lock_wheels(moved, [folder("part")], Wheels(resolver, store))
    assert lock.wheels[0].filename == "part-1.0-cp314-cp314-manylinux_2_17_aarch64.whl"


@pytest.mark.provokes("python.not-locked")
def test_offline_asks_no_index(store: Store) -> None:
    with pytest.raises(PiimageError, match="--offline does not allow"):
        lock_wheels(LOCK, [folder("thing")], Wheels(None, store))


@pytest.mark.provokes("python.no-wheel")
def test_all_containers_errors_come_at_once(resolver: Resolver, store: Store) -> None:
    two = [folder("alien"), replace(folder("nothing"), root="container/x")]
    with pytest.raises(ErrorGroup) as caught:
        lock_wheels(LOCK, two, Wheels(resolver, store))
    assert len(caught.value.errors) == 2


# --- fetching


def locked(resolver: Resolver, store: Store) -> tuple[Lock, set[str]]:
    lock = lock_wheels(LOCK, [folder("thing")], Wheels(resolver, store))
    for pin in lock.wheels:
        store.path(pin.blob).unlink(missing_ok=True)
    return lock, {pin.sha256 for pin in lock.wheels}


def test_wheels_are_fetched_once(resolver: Resolver, store: Store) -> None:
    lock, wanted = locked(resolver, store)
    wheels = Wheels(resolver, store)
    fetch_wheels(lock, wanted, store, wheels)
    assert all(store.verified(pin.blob) for pin in lock.wheels)
    fetch_wheels(lock, wanted, store, wheels)
    assert wheels.opened == 1
    fetch_wheels(lock, set(), store, Wheels(None, store))


@pytest.mark.provokes("python.wheel-absent")
def test_offline_fetches_nothing(resolver: Resolver, store: Store) -> None:
    lock, wanted = locked(resolver, store)
    with pytest.raises(ErrorGroup) as caught:
        fetch_wheels(lock, wanted, store, Wheels(None, store))
    assert [error.code for error in caught.value.errors] == ["python.wheel-absent"] * 2


def test_a_second_index_with_wheels_for_other_machines_hides_none(
    resolver: Resolver, store: Store, tmp_path: Path, shelf: Shelf
) -> None:
    """A company's index, or piwheels, often has a version for some processors alone."""
    near = Shelf(tmp_path / "near")
    near.add("part", "1.0", "cp313-cp313-manylinux_2_17_x86_64")
    index = Index({**resolver.index.variables, "UV_INDEX": near.address})
    both = replace(resolver, index=index)
    lock = lock_wheels(LOCK, [folder("part")], Wheels(both, store))
    store.path(lock.wheels[0].blob).unlink()
    fetch_wheels(lock, {lock.wheels[0].sha256}, store, Wheels(both, store))
    assert lock.wheels[0].filename == "part-1.0-cp313-cp313-manylinux_2_17_aarch64.whl"
    assert store.has(lock.wheels[0].blob)


@pytest.mark.provokes("python.wheel-gone")
def test_a_wheel_that_left_the_index_is_named(
    resolver: Resolver, store: Store, shelf: Shelf
) -> None:
    lock, wanted = locked(resolver, store)
    shutil.rmtree(shelf.root / "simple" / "thing")
    with pytest.raises(PiimageError) as caught:
        fetch_wheels(lock, wanted, store, Wheels(resolver, store))
    assert "python.wheel-gone" in str(caught.value.code)


def test_a_file_that_is_listed_and_gone_is_gone(
    resolver: Resolver, store: Store, shelf: Shelf
) -> None:
    lock, wanted = locked(resolver, store)
    for path in shelf.root.rglob("*.whl"):
        path.unlink()
    with pytest.raises(PiimageError) as caught:
        fetch_wheels(lock, wanted, store, Wheels(resolver, store))
    assert caught.value.code == "python.wheel-gone"


@pytest.mark.provokes("python.index-unreachable")
def test_files_on_a_host_that_is_away_are_named(resolver: Resolver, store: Store) -> None:
    lock, wanted = locked(resolver, store)

    class Away(Resolver):
        def locate(self, pins: object, target: object) -> dict[str, str]:
            return dict.fromkeys(wanted, "http://127.0.0.1:9/x.whl")

    away = Away(resolver.index, resolver.runner, resolver.scratch)
    transport = Transport(pause=lambda seconds: None, proxies={})
    wheels = Wheels(away, store)
    wheels.fetcher = replace(wheels.fetcher, transport=transport)
    with pytest.raises(PiimageError) as caught:
        fetch_wheels(lock, wanted, store, wheels)
    assert caught.value.code == "python.index-unreachable"


@pytest.mark.provokes("python.wheel-altered")
def test_an_altered_wheel_is_not_kept(resolver: Resolver, store: Store, shelf: Shelf) -> None:
    lock, wanted = locked(resolver, store)
    path = shelf.root / "simple" / "part" / "part-1.0-cp313-cp313-manylinux_2_17_aarch64.whl"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(PiimageError, match="another file than the pinned one"):
        fetch_wheels(lock, wanted, store, Wheels(resolver, store))
    part = next(pin for pin in lock.wheels if pin.name == "part")
    assert not store.has(part.blob)


def test_what_the_index_does_not_tell_is_found_by_fetching(
    resolver: Resolver, store: Store, tmp_path: Path, cache: dict[str, str]
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    wheel(bare)
    index = Index({"UV_FIND_LINKS": str(bare), **cache}, ("--no-index",))
    wheels = Wheels(replace(resolver, index=index), store)
    lock = lock_wheels(LOCK, [folder("thing")], wheels)
    (pin,) = lock.wheels
    assert (pin.sha256, pin.size) == (_sha256(bare / pin.filename), _size(bare / pin.filename))
    store.path(pin.blob).unlink()
    fetch_wheels(lock, {pin.sha256}, store, wheels)
    assert store.has(pin.blob)


def _size(path: Path) -> int:
    return path.stat().st_size


# --- packages that are built


@pytest.fixture
def spi(shelf: Shelf) -> ContainerFolder:
    """`spi` needs a build; `user` has a wheel and needs `spi`."""
    for version in ("3.8", "3.9"):
        shelf.add_source("spi", version)
    shelf.add("user", "1.0", requires="Requires-Dist: spi\n")
    return folder("user", sources=["Spi==3.8"])


def test_a_source_archive_is_pinned_beside_the_wheels(
    resolver: Resolver, store: Store, spi: ContainerFolder
) -> None:
    lock = lock_wheels(LOCK, [spi], Wheels(resolver, store))
    assert [pin.filename for pin in lock.wheels if pin.is_source] == ["spi-3.8.tar.gz"]
    assert versions(lock) == {"spi": "3.8", "user": "1.0"}
    assert lock.environment("container/x").sources == ("Spi==3.8",)
    assert parse_lock(render_lock(lock).encode(), "x") == lock
    assert lock_wheels(lock, [spi], Wheels(None, store)) == lock


def test_another_version_of_a_source_is_asked_for_anew(
    resolver: Resolver, store: Store, spi: ContainerFolder
) -> None:
    old = lock_wheels(LOCK, [spi], Wheels(resolver, store))
    new = lock_wheels(old, [folder("user", sources=["spi==3.9"])], Wheels(resolver, store))
    assert versions(new)["spi"] == "3.9"


@pytest.mark.provokes("python.no-wheel")
def test_what_is_no_source_has_to_be_a_wheel(
    resolver: Resolver, store: Store, spi: ContainerFolder, shelf: Shelf
) -> None:
    with pytest.raises(InputError, match="spi") as caught:
        lock_wheels(LOCK, [folder("user")], Wheels(resolver, store))
    assert "sources:" in (caught.value.hint or "")


def test_a_source_archive_is_fetched_and_verified(
    resolver: Resolver, store: Store, spi: ContainerFolder, shelf: Shelf
) -> None:
    lock = lock_wheels(LOCK, [spi], Wheels(resolver, store))
    (source,) = (pin for pin in lock.wheels if pin.is_source)
    wanted = {pin.sha256 for pin in lock.wheels}
    for pin in lock.wheels:
        store.path(pin.blob).unlink(missing_ok=True)
    with pytest.raises(ErrorGroup, match=r"spi-3\.8\.tar\.gz: the store does not have"):
        fetch_wheels(lock, wanted, store, Wheels(None, store))
    fetch_wheels(lock, wanted, store, Wheels(resolver, store))
    assert store.verified(source.blob).read_bytes() == b"spi 3.8"
    store.path(source.blob).unlink()
    (shelf.root / "simple" / "spi" / source.filename).write_bytes(b"spi evil")
    with pytest.raises(PiimageError) as caught:
        fetch_wheels(lock, wanted, store, Wheels(resolver, store))
    assert caught.value.code == "python.wheel-altered"
