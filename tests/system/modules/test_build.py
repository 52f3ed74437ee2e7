"""A module built in each of the ways, and what is refused when an image is built."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from piimage import events
from piimage.config.module_folder import module_folder
from piimage.lock import Lock, read_lock
from piimage.modules.steps import module_step
from piimage.run import Runner
from piimage.steps import Builder
from piimage.store import Store
from piimage.toolchain.docker import DockerBuild
from piimage.toolchain.steps import Compiled
from tests.system.modules.conftest import Command
from tests.system.modules.docker_engine import engine_at

NOBODY = 65534
MODULES = ("hello", "i2c-stub")


@pytest.fixture(scope="module")
def lock(image: Path, folder: Path) -> Lock:
    assert image.exists()
    return read_lock(folder / "modules.lock")


@pytest.fixture(scope="module")
def steps(lock: Lock, folder: Path) -> list[Compiled]:
    found = [module_step(module_folder(folder / "kernel-modules" / name), lock) for name in MODULES]
    return [step for step in found if isinstance(step, Compiled)]


@pytest.fixture(scope="module")
def built(piimage: Command, image: Path, folder: Path) -> dict[str, bytes]:
    """What bubblewrap makes of the modules, as root."""
    assert image.exists()
    for name in MODULES:
        done = piimage(
            ["module", "build", f"kernel-modules/{name}", "modules.yml", "-o", "built"]
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert f"built/{name}.ko: " in done.stderr
    return {name: (folder / "built" / f"{name}.ko").read_bytes() for name in MODULES}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with engine_at(tmp_path_factory.mktemp("engine")) as address:
        yield address


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user can reach, which pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="piimage-nobody-") as folder:
        yield Path(folder)


def test_docker_makes_the_same_bytes(
    host: str, steps: list[Compiled], built: dict[str, bytes], piimage_store: Path
) -> None:
    store = Store(piimage_store)
    for step, name in zip(steps, MODULES, strict=True):
        job = Builder(store, Runner()).build(*step.needs())
        assert DockerBuild(host).build(step, job) == {f"{name}.ko": built[name]}


def test_another_user_elsewhere_makes_the_same_bytes(
    steps: list[Compiled], built: dict[str, bytes], piimage_store: Path, open_folder: Path
) -> None:
    theirs = Store(open_folder / "a store of nobody's")
    ours = Store(piimage_store)
    needed = [need for step in steps for need in (step, *step.needs())]
    for blob in {blob for need in needed for blob in need.blobs()}:
        shutil.copyfile(ours.path(blob), theirs.path(blob))
    for path in (open_folder, *open_folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    for need in needed:
        _ = need.key  # made of the code, which that user may not be able to read
    child = os.fork()
    if child == 0:  # as another user, with what is loaded already
        status = 1
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.umask(0o077)
            job = Builder(theirs, Runner(events.ignore)).build(*steps)
            same = [job.file(step).read_bytes() == built[name]
                    for step, name in zip(steps, MODULES, strict=True)]  # fmt: skip
            status = 0 if all(same) else 2
        except BaseException:  # noqa: BLE001  # its status tells, but not why
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_kmod_reads_what_was_built(built: dict[str, bytes], folder: Path, lock: Lock) -> None:
    assert built
    output = subprocess.run(
        ["modinfo", folder / "built/hello.ko"], check=True, capture_output=True, text=True
    ).stdout
    release = next(p.name for p in lock.packages if p.name.startswith("linux-headers-6"))
    assert f"vermagic:       {release.removeprefix('linux-headers-')} SMP" in output.replace(
        "-common", "-arm64"
    )
    assert "parm:           whom:Name to greet (charp)" in output


def refused(piimage: Command, folder: Path, name: str, module: bytes) -> str:
    """What `build` says of an appliance with the finished module."""
    own = folder / name
    own.mkdir()
    (own / "module.yml").write_text("name: hello\nlicense: X\nprebuilt: hello.ko\n")
    (own / "hello.ko").write_bytes(module)
    text = (folder / "modules.yml").read_text()
    (folder / f"{name}.yml").write_text(text.replace("kernel-modules/hello", name))
    (folder / f"{name}.lock").write_bytes((folder / "modules.lock").read_bytes())
    done = piimage(["build", f"{name}.yml", "-o", name])
    assert done.returncode == 2, done.stderr
    assert not (folder / name / f"{name}.img").exists()
    return done.stderr


def test_a_module_of_another_kernel_is_refused_with_both_versions(
    piimage: Command, folder: Path, built: dict[str, bytes]
) -> None:
    other = built["hello"].replace(b"vermagic=6.12.", b"vermagic=6.11.")
    output = refused(piimage, folder, "older", other)
    assert "built for '6.11." in output
    assert "the kernel is '6.12." in output


def test_a_module_with_other_symbol_versions_is_refused_with_both(
    piimage: Command, folder: Path, built: dict[str, bytes]
) -> None:
    module = bytearray(built["hello"])
    at = module.index(b"module_layout\0") - 8
    module[at] ^= 0xFF
    output = refused(piimage, folder, "changed", bytes(module))
    assert "module_layout: built with version 0x" in output
    assert "the kernel has 0x" in output
