"""Shows whether a build host of arm64 makes the bytes that one of amd64 makes.

The hosts are piimage's own container images. That of arm64 is booted in QEMU by an arm64 kernel of
Debian, so that bubblewrap has real namespaces, which qemu-user cannot make; that of amd64 runs on
this computer. In both, `piimage build` makes a card with a kernel module and a compiled Python
package, from locked packages and without a network. Prints seconds and digests, and exits with 1 if
they differ, after a list of what differs. Takes 8 minutes on two processors that do nothing else,
and up to 45 on busy ones. From the top of the checkout:

    PYTHONPATH=libraries/chipmodels .venv/bin/python -m bench.arm64 [--keep FOLDER]

With ``--keep`` both cards stay in FOLDER if they differ.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from chipmodels.testing.initramfs import File, archive
from chipmodels.testing.modules import Modules, module_bytes

from piimage import events
from piimage.cli.inputs import inputs_of
from piimage.cli.options import Origin
from piimage.lock import Lock, read_lock
from piimage.locking.wheels import fetch_wheels
from piimage.run import Runner
from piimage.store import Store, default_root

ROOT = Path(__file__).parents[1]
PIIMAGE = ROOT / ".venv/bin/piimage"
SECONDS = 3600
CARD = """\
board: qemu-virt
hostname: greenhouse
onboot:
  - { name: dhcp, use: dhcp }
services:
  - { name: dhcp-renew, use: dhcp-renew }
  - { name: hello_world, use: hello_world }
  - { name: mdns, use: mdns }
  - { name: ntp, use: ntp }
  - { name: sshd, use: sshd }
  - { name: spi, build: spi }
modules:
  - { build: hello }
"""
SERVICE = """\
name: spi
base: python
sources: [spidev==3.8]
entrypoint: [/usr/bin/python3, -c, "import spidev; spidev.SpiDev()"]
"""
RESULTS = ("hello.ko", "greenhouse.img")
JOB = """\
#!/bin/sh
export HOME=/root LANG=C.UTF-8 PATH=/usr/local/bin:/usr/sbin:/usr/bin PIIMAGE_STORE=/store
cd /work
{
  set -x
  uname -rm
  piimage module build hello greenhouse.yml -o out --offline &&
    piimage build greenhouse.yml -o out --offline && touch done
} >log 2>&1
sync
"""
# The initramfs does what piimage's image has no program for. The kernel ends when the job does.
FIRST = """\
#!/busybox sh
for module in {modules}; do /busybox insmod /$module; done
/busybox mount -t devtmpfs dev /dev
until /busybox mount -t ext4 /dev/vda /root; do /busybox sleep 1; done
/busybox mkdir -p /root/proc /root/sys /root/dev /dev/pts /dev/shm
/busybox mount -t proc proc /root/proc
/busybox mount -t sysfs sys /root/sys
/busybox mount -t tmpfs tmp /root/tmp
/busybox mount -t devpts pts /dev/pts
/busybox mount -o move /dev /root/dev
/busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000 share /root/work
exec /busybox switch_root /root /job
"""
DRIVERS = (
    "crc32c_generic", "virtio_pci", "virtio_blk", "ext4", "9pnet_virtio", "9p", "virtio_rng",
)  # fmt: skip


def run(*words: str | Path, cwd: Path = ROOT) -> None:
    """Run a program."""
    subprocess.run(words, cwd=cwd, check=True)


def make_project(folder: Path) -> Lock:
    """Write a card's file with a module and a Python package to compile, and lock it."""
    shutil.copytree(ROOT / "kernel-modules/hello", folder / "hello")
    (folder / "spi").mkdir()
    (folder / "spi/service.yml").write_text(SERVICE)
    (folder / "greenhouse.yml").write_text(CARD)
    run(PIIMAGE, "lock", "greenhouse.yml", cwd=folder)
    return read_lock(folder / "greenhouse.lock")


def fetch(lock: Lock, store: Store) -> list[Path]:
    """Fetch what is locked, for hosts of both architectures; return the files."""
    inputs = inputs_of(Origin(), store, Runner(events.ignore), events.ignore)
    inputs.fetcher().fetch(lock.packages)
    fetch_wheels(lock, {wheel.sha256 for wheel in lock.wheels}, store, inputs.wheels)
    return [store.path(pin.blob) for pin in (*lock.packages, *lock.wheels)]


def compose(folder: Path) -> Path:
    """Compose piimage's image for both architectures; return its OCI layout."""
    archive, layout = folder / "piimage.oci", folder / "layout"
    words = ["--lock", folder / "service.lock", "--platform", "linux/amd64", "--tag", "test"]
    run(PIIMAGE, "pkg", "build", "container", "--context", ".", *words, "-o", archive)
    layout.mkdir()
    run("tar", "-xf", archive, "-C", layout)
    return layout


def unpack(layout: Path, architecture: str, packages: Sequence[Path], root: Path) -> Path:
    """Unpack the image of an architecture, with `packages` in its store and the job in its root."""

    def blob(descriptor: dict[str, str]) -> Path:
        return layout / "blobs" / descriptor["digest"].replace(":", "/")

    index = json.loads((layout / "index.json").read_text())["manifests"][0]
    (manifest,) = (
        entry
        for entry in json.loads(blob(index).read_text())["manifests"]
        if entry["platform"]["architecture"] == architecture
    )
    root.mkdir()
    for layer in json.loads(blob(manifest).read_text())["layers"]:
        run("tar", "-xzf", blob(layer), "-C", root, "--no-same-owner")
    (root / "store/blobs/sha256").mkdir(parents=True)
    for path in packages:
        shutil.copy(path, root / "store/blobs/sha256")
    (root / "job").write_text(JOB)
    (root / "job").chmod(0o755)
    return root


def run_here(root: Path, share: Path) -> None:
    """Run the job in the root of amd64."""
    binds = ["--bind", root, "/", "--bind", share, "/work"]
    # A /proc of its own would not do: bubblewrap covers parts of it, and the sandbox of a build in
    # this one may then not mount another.
    run("bwrap", *binds, "--bind", "/proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp",
        "--unshare-net", "/job")  # fmt: skip


def kernel(lock: Lock, store: Store, folder: Path) -> tuple[Path, Path]:
    """Return an arm64 kernel of Debian, and an initramfs that mounts the first disk."""
    parts = folder / "kernel"
    for package in lock.packages:
        if package.name.startswith(("linux-image-6", "busybox-static")):
            run("dpkg-deb", "--extract", store.path(package.blob), parts)
    (modules,) = (parts / "usr/lib/modules").iterdir()
    run("depmod", "--basedir", parts / "usr", modules.name)
    found = Modules(modules)
    drivers = list(dict.fromkeys(file for name in DRIVERS for file in found.files(name)))
    script = FIRST.format(modules=" ".join(path.stem for path in drivers))
    files = [
        File("dev", stat.S_IFDIR | 0o755),
        File("root", stat.S_IFDIR | 0o755),
        File("busybox", stat.S_IFREG | 0o755, (parts / "usr/bin/busybox").read_bytes()),
        File("init", stat.S_IFREG | 0o755, script.encode()),
        *(File(path.stem, stat.S_IFREG | 0o644, module_bytes(path)) for path in drivers),
    ]
    target = folder / "initramfs"
    target.write_bytes(archive(files))
    return next((parts / "boot").glob("vmlinuz-*")), target


def boot(folder: Path, image: Path, first: Path, root: Path, share: Path) -> None:
    """Run the job in the root of arm64, in a machine of its own."""
    disk = folder / "disk"
    with disk.open("wb") as file:
        file.truncate(6 << 30)
    run("mke2fs", "-q", "-t", "ext4", "-d", root, disk)
    with (folder / "console").open("wb") as console:
        subprocess.run(
            ["qemu-system-aarch64", "-machine", "virt", "-cpu", "cortex-a72", "-smp", "2",
             "-accel", "tcg,thread=multi,tb-size=512", "-m", "4096",
             "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio",
             "-kernel", image, "-initrd", first,
             "-append", "console=ttyAMA0 quiet panic=-1 mitigations=off",
             "-drive", f"if=none,id=disk,format=raw,cache=unsafe,file={disk}",
             "-device", "virtio-blk-pci,drive=disk", "-device", "virtio-rng-pci",
             "-fsdev", f"local,id=share,path={share},security_model=none",
             "-device", "virtio-9p-pci,fsdev=share,mount_tag=share"],
            stdin=subprocess.DEVNULL, stdout=console, check=True, timeout=SECONDS,
        )  # fmt: skip


def result(share: Path) -> dict[str, str]:
    """Return the digest of each result; exit if the job failed."""
    print((share / "log").read_text() if (share / "log").exists() else f"{share.name}: no log")
    if not (share / "done").exists():
        sys.exit(f"the job on {share.name} failed")
    out = share / "out"
    return {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in RESULTS}


def print_differences(here: Path, there: Path) -> None:
    """Print what differs: files of the cards, results of the builds, and lines of the manifests."""
    cards = [folder / "greenhouse.img" for folder in (here, there)]
    subprocess.run([PIIMAGE, "diff", *cards], cwd=ROOT, check=False)
    subprocess.run(["diff", "--recursive", "--brief", here, there], cwd=ROOT, check=False)
    manifests = [folder / "greenhouse.manifest.json" for folder in (here, there)]
    subprocess.run(["diff", "--unified", *manifests], cwd=ROOT, check=False)


def main() -> int:
    """Build in both, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--keep", type=Path, help="where cards that differ are kept")
    keep: Path | None = parser.parse_args().keep
    store = Store(default_root())
    with tempfile.TemporaryDirectory(prefix="piimage-arm64-", dir="/var/tmp") as name:
        folder = Path(name)
        here, there = folder / "amd64", folder / "arm64"
        here.mkdir()
        lock = make_project(here)
        shutil.copytree(here, there)
        packages, layout = fetch(lock, store), compose(folder)
        run_here(unpack(layout, "amd64", packages, folder / "amd64-root"), here)
        amd64 = result(here)
        root = unpack(layout, "arm64", packages, folder / "arm64-root")
        started = time.monotonic()
        boot(folder, *kernel(lock, store, folder), root, there)
        seconds = time.monotonic() - started
        print((folder / "console").read_text(errors="replace"))
        arm64 = result(there)
        if amd64 != arm64:
            print_differences(here / "out", there / "out")
            if keep is not None:
                for share in (here, there):
                    shutil.copytree(share / "out", keep / share.name, dirs_exist_ok=True)
    print(f"{seconds:.0f} s in the guest, load {os.getloadavg()[0]:.1f}")
    for file in RESULTS:
        print(f"{file}: {amd64[file]} on amd64, {arm64[file]} on arm64")
    return 0 if amd64 == arm64 else 1


if __name__ == "__main__":
    sys.exit(main())
