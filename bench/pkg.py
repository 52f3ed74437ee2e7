"""Composing a container folder, and building its Dockerfile by buildx and qemu-user, in one run.

piimage starts from an empty store with the locked packages and wheels in it, so nothing is
downloaded while the clock runs. The peer is what people do today: an engine of its own, `apt-get
install` in an emulated Debian of which the packages were downloaded before. Prints seconds, CPU
seconds, sizes and ratios; decides nothing. As root (the engine), from the top of the checkout:

    .venv/bin/python -m bench.pkg [services/bmp280] [--base base.tar] [--no-peer]

`--base` keeps the peer's base image (minutes of emulation) from one run to the next.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import docker

from bench.build import PIIMAGE, ROOT, Cost, measure
from piimage.lock import read_lock
from piimage.oci.archive import export_folder
from piimage.oci.engine import Engine
from piimage.oci.layout import Layout
from piimage.oci.models import ARM64, ImageConfig, RootFileSystem
from piimage.oci.pack import pack_tar
from piimage.run import Runner
from piimage.store import CHUNK, Store, default_root
from tests.system.oci.engines import buildx, mirror, running_engine

BASE = "piimage-bench/base:1"
CHANGES = 5
_TICK = os.sysconf("SC_CLK_TCK")


def filled_store(lock_file: Path, target: Path) -> dict[str, str]:
    """Fill a new store with what is locked alone; return the environment that uses it."""
    full, store, lock = Store(default_root()), Store(target), read_lock(lock_file)
    for package in (*lock.packages, *lock.wheels):
        shutil.copy(full.path(package.blob), store.path(package.blob))
    return {"PIIMAGE_STORE": str(target)}


def listed(env: dict[str, str]) -> dict[str, object]:
    """Return the one image that the store names."""
    found = subprocess.run([PIIMAGE, "pkg", "ls", "--json"], env={**os.environ, **env}, check=True,
                           capture_output=True).stdout  # fmt: skip
    (row,) = json.loads(found)
    return dict(row)


def changed(build: Sequence[object], source: Path, work: Path, env: dict[str, str]) -> list[Cost]:
    """Change a line of `source` and build, several times."""
    found = []
    for number in range(CHANGES):
        source.write_text(f"{source.read_text()}# change {number}\n")
        found.append(measure(*build, cwd=work, env=env))
    return found


def ours(folder: Path, work: Path) -> Cost:
    """Print what piimage takes; return the cost from an empty store."""
    (work / "setup").mkdir()
    # Byte code is written once and kept, as pip does when it installs.
    code = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(work / "code")}
    default = {"PIIMAGE_STORE": str(default_root()), **code}
    measure(PIIMAGE, "pkg", "build", "--context", work, folder, cwd=work / "setup", env=default)
    build = (PIIMAGE, "pkg", "build", "--offline", "--locked", "--context", work, folder)
    lock = folder / "service.lock"
    stores = [{**filled_store(lock, work / name), **code} for name in ("one", "two")]
    cold, again = (measure(*build, cwd=work, env=env) for env in stores)
    first, second = (listed(env) for env in stores)
    size = int(str(first["size"])) / 1e6
    print(f"piimage, empty store      {cold}")
    print(f"piimage, another one      {again}")
    print(f"  the same bytes twice: {first == second}; compressed image: {size:.2f} MB")
    unchanged = measure(*build, cwd=work, env=stores[0])
    print(f"piimage, nothing changed  {unchanged}")
    source = next(path for path in sorted(folder.rglob("*")) if path.suffix in (".py", ".sh"))
    changes = changed(build, source, work, stores[0])
    walls = sorted(change.wall for change in changes)
    cpu = statistics.median(change.cpu for change in changes)
    print(
        f"piimage, code changed     median {statistics.median(walls):.2f} s wall "
        f"({walls[0]:.2f} to {walls[-1]:.2f}, {CHANGES} runs), {cpu:.2f} s CPU"
    )
    return cold


def debian_packages(dockerfile: Path) -> list[str]:
    """Return what the Dockerfile installs with apt-get."""
    text = dockerfile.read_text().replace("\\\n", " ")
    (words,) = re.findall(r"apt-get install ([^&\n]*)", text)
    return [word for word in words.split() if not word.startswith("-")]


def make_base(target: Path, packages: Sequence[str]) -> None:
    """Write the root of an arm64 Debian with apt, and the packages' archives in its cache."""
    fetch = f'chroot "$1" apt-get install -qq -y -d --no-install-recommends {" ".join(packages)}'
    subprocess.run(
        ["mmdebstrap", "-q", "--mode=root", "--skip=check/qemu", "--variant=minbase",
         "--architectures=arm64", "--skip=cleanup/apt",
         f"--customize-hook={fetch}", "trixie", target, mirror()],
        check=True,
    )  # fmt: skip


def load_base(client: docker.DockerClient, tar: Path, work: Path) -> None:
    """Load the base into the engine as an arm64 image."""
    layout = Layout(Store(work / "base-store"))
    with tar.open("rb") as stream:
        layer = pack_tar(layout.store, iter(lambda: stream.read(CHUNK), b""))
    config = ImageConfig(
        os=ARM64.os,
        architecture=ARM64.architecture,
        variant=ARM64.variant,
        rootfs=RootFileSystem(diff_ids=(layer.diff_id,)),
    )
    image = layout.write_image(config, [layer.descriptor])
    export_folder(layout, {"base": image.descriptor}, work / "base")
    archive = work / "base.docker"
    subprocess.run(
        ["skopeo", "copy", "-q", f"oci:{work}/base:base", f"docker-archive:{archive}:{BASE}"],
        check=True,
    )
    with archive.open("rb") as stream:
        client.images.load(stream)


def engine_cpu(pid: int) -> float:
    """Return the CPU seconds of the engine and of all children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICK


def peer(folder: Path, base: Path | None, work: Path) -> Cost:
    """Build the Dockerfile of `folder`, with `work` as context; return what it took."""
    tar = base or work / "base.tar"
    # BuildKit's containers do not see this host's /etc/hosts.
    host_of_mirror = str(urlsplit(mirror()).hostname)
    if not tar.exists():
        make_base(tar, debian_packages(folder / "Dockerfile"))
    program = buildx(work / "buildx")
    with running_engine(work / "engine") as host:
        client = docker.DockerClient(base_url=host, timeout=600)
        load_base(client, tar, work)
        Engine(Layout(Store(work / "unused")), Runner(), program, host).register_emulation()
        pid = int((work / "engine" / "pid").read_text())
        before, began = engine_cpu(pid), time.monotonic()
        taken = measure(
            program, "build", "--platform", "linux/arm64", "--network", "host", "--no-cache",
            "--add-host", f"{host_of_mirror}={socket.gethostbyname(host_of_mirror)}",
            "--provenance=false", "--build-arg", f"BASE={BASE}", "--output", "type=docker",
            "-t", "piimage-bench/peer:1", "-f", folder / "Dockerfile", work,
            cwd=work, env={"DOCKER_HOST": host},
        )  # fmt: skip
        wall = time.monotonic() - began
        cost = Cost(wall, taken.cpu + engine_cpu(pid) - before, taken.peak)
        size = client.images.get("piimage-bench/peer:1").attrs["Size"] / 1e6
        client.close()
    print(f"buildx and qemu-user      {cost}")
    print(f"  image, not compressed: {size:.1f} MB")
    return cost


def main() -> None:
    """Run both and print the ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", default="services/bmp280", type=Path)
    parser.add_argument("--base", type=Path)
    parser.add_argument("--no-peer", action="store_true")
    chosen = parser.parse_args()
    print(f"load before: {os.getloadavg()[0]:.2f}; processors: {os.cpu_count()}")
    with tempfile.TemporaryDirectory(prefix="piimage-bench-") as name:
        work = Path(name)
        for copied in ("libraries", "services"):
            shutil.copytree(ROOT / copied, work / copied, ignore=shutil.ignore_patterns("*.lock"))
        folder = work / "services" / chosen.folder.resolve().name
        (work / "engine").mkdir()
        own = ours(folder, work)
        if not chosen.no_peer:
            other = peer(folder, chosen.base, work)
            print(f"ratio: {other.wall / own.wall:.1f} wall, {other.cpu / own.cpu:.1f} CPU")


if __name__ == "__main__":
    main()
