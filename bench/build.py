"""Build speed, and the peer's in the same run: mmdebstrap (unpack only) with genimage.

Both get the same packages from disk (nothing is downloaded while the clock runs) and end with a
partitioned card image. The peer runs twice: with mksquashfs as it comes, which is what its users
run, and with piimage's own squashfs settings: one sees how much of the ratio is that choice. Prints
seconds, CPU seconds and ratios; decides nothing.

    .venv/bin/python bench/build.py [FILE.yml]
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from piimage.lock import read_lock
from piimage.store import Store, default_root

ROOT = Path(__file__).parents[1]
PIIMAGE = ROOT / ".venv" / "bin" / "piimage"
PEER_PACKAGES = ("mmdebstrap", "genimage", "dpkg-dev")
PEERS = {
    "mksquashfs as it comes": "",
    "squashfs as piimage packs it": "-comp zstd -Xcompression-level 3",
}
RELATION = re.compile(r"(Pre-Depends|Depends|Conflicts|Breaks):")
GENIMAGE = """
image boot.vfat {
  vfat { files = { @boot@ } }
  size = 512M
}
image card.img {
  hdimage { }
  partition boot { partition-type = 0xC  image = "boot.vfat" }
  partition root { partition-type = 0x83  image = "root.squashfs" }
}
"""


@dataclass(frozen=True)
class Cost:
    """What one run took: wall and CPU seconds, and the largest process in MiB."""

    wall: float
    cpu: float
    peak: float

    def __str__(self) -> str:
        return f"{self.wall:7.2f} s wall {self.cpu:7.2f} s CPU {self.peak:6.0f} MiB peak"


def measure(*argv: object, cwd: Path, env: dict[str, str]) -> Cost:
    """Run a command to its end and return what it and its children took."""
    began = time.monotonic()
    pid = os.posix_spawnp(
        "env", ["env", "-C", str(cwd), *map(str, argv)], {**os.environ, **env},
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, str(cwd / "log"), os.O_CREAT | os.O_WRONLY, 0o644),
                      (os.POSIX_SPAWN_DUP2, 1, 2)],
    )  # fmt: skip
    _, status, used = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{argv[0]} failed:\n{(cwd / 'log').read_text()[-2000:]}")
    return Cost(time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def packages_only(lock_file: Path, target: Path) -> list[Path]:
    """Fill a new store with the locked packages alone; return them as .deb files."""
    full, store = Store(default_root()), Store(target)
    debs = []
    for package in read_lock(lock_file).packages:
        if full.has(package.blob):
            shutil.copy(full.path(package.blob), store.path(package.blob))
            deb = target.parent / "debs" / package.path.rpartition("/")[2]
            deb.parent.mkdir(exist_ok=True)
            deb.hardlink_to(store.path(package.blob))
            debs.append(deb)
    return debs


def ours(yml: Path, work: Path) -> dict[str, Cost]:
    """Build from an empty store, then after a change of one file, then with nothing changed."""
    env = {"PIIMAGE_STORE": str(work / "store")}
    build = (PIIMAGE, "build", "--offline", yml, "-o", work / "out")
    cold = measure(*build, cwd=work, env=env)
    script = yml.parent / "services" / "hello_world" / "hello.sh"
    script.write_text(script.read_text() + f"# {time.time()}\n")
    changed = measure(*build, cwd=work, env=env)
    time.sleep(0.1)
    same = measure(*build, cwd=work, env=env)
    return {"empty store": cold, "one file changed": changed, "nothing changed": same}


def peer(debs: list[Path], repository: Path, work: Path, packing: str) -> Cost:
    """The same packages through mmdebstrap, mksquashfs with the options `packing`, and genimage."""
    work.mkdir()
    listed = subprocess.run(["dpkg-scanpackages", "-m", "."], cwd=repository, check=True,
                            capture_output=True, text=True).stdout  # fmt: skip
    # Exactly the locked packages: what their scripts alone would need is not among them.
    lines = [line for line in listed.splitlines(keepends=True) if not RELATION.match(line)]
    (repository / "Packages").write_text("".join(lines))
    names = ",".join(sorted({deb.name.partition("_")[0] for deb in debs}))
    kernel = "$(ls root/boot/vmlinuz-* root/usr/lib/modules/*/vmlinuz 2>/dev/null | head -1)"
    script = work / "peer.sh"
    script.write_text(f"""set -e
mmdebstrap -q --mode=root --variant=extract --architectures=arm64 --skip=check/qemu \\
  --include={names} --format=directory '' root 'deb [trusted=yes] copy:{repository} ./'
mkdir -p input images tmp
gzip -c {kernel} > input/kernel.img
cp root/usr/lib/raspi-firmware/*.elf root/usr/lib/raspi-firmware/*.dat input/ 2>/dev/null || true
find root -name 'bcm27*-rpi-*.dtb' -exec cp -t input {{}} +
mksquashfs root input/root.squashfs {packing} -quiet -no-progress
(cd input; ls | grep -v squashfs | sed 's/.*/"&",/' | tr -d '\\n' | sed 's/,$//') > list
sed "s|@boot@|$(cat list)|" genimage.template > genimage.cfg
genimage --rootpath input --inputpath input --outputpath images --tmppath tmp --config genimage.cfg
""")
    (work / "genimage.template").write_text(GENIMAGE)
    return measure("bash", script, cwd=work, env={})


def main() -> None:
    """Run both and print the ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("yml", nargs="?", default="examples/pi4.yml", type=Path)
    source = parser.parse_args().yml.resolve()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="piimage-bench-") as folder:
        work = Path(folder)
        examples = work / "examples"
        shutil.copytree(source.parent, examples, symlinks=True)
        yml = examples / source.name
        # As a folder of the user's own, so that a file of it can be changed.
        shutil.copytree(ROOT / "services" / "hello_world", examples / "services" / "hello_world")
        yml.write_text(yml.read_text().replace("use: hello_world", "build: services/hello_world"))
        setup = {"PIIMAGE_STORE": str(default_root())}
        (work / "setup").mkdir()
        measure(PIIMAGE, "build", yml, "-o", work / "setup", cwd=work, env=setup)
        debs = packages_only(yml.with_suffix(".lock"), work / "store")
        results = ours(yml, work)
        peers = {
            name: peer(debs, work / "debs", work / name.replace(" ", "-"), packing)
            for name, packing in PEERS.items()
        }
    print(
        f"load before: {load:.2f}; processors: {os.cpu_count()}; "
        f"own peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB"
    )
    for name, cost in results.items():
        print(f"piimage, {name:17} {cost}")
    cold = results["empty store"]
    for name, other in peers.items():
        print(f"mmdebstrap and genimage, {name}: {other}")
        print(
            f"  ratio to piimage: {other.wall / cold.wall:.1f} wall, {other.cpu / cold.cpu:.1f} CPU"
        )


if __name__ == "__main__":
    main()
