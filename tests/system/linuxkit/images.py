"""Images laid out as LinuxKit's are, made of Debian's arm64 packages.

What is real in them: the kernel and its modules, dhcpcd, dropbear as sshd, busybox's sysctl. What
stands in: `getty` writes a line to the console and gives no login, `rngd` only reads /dev/hwrng.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from piimage.board import Board
from piimage.boards import load_board
from piimage.compose.described import deb_file
from piimage.compose.layers import FilesLayer, Layer, LayerTar, PackagesLayer
from piimage.compose.rules import File, Folder, Rules
from piimage.config.load import load
from piimage.config.rootfs import Group, User
from piimage.debian.request import Request
from piimage.kernel.modules import ModuleTree
from piimage.kernel.package import UnpackedKernel
from piimage.lock import Lock
from piimage.locking.inputs import Inputs
from piimage.locking.requests import requests, suites
from piimage.oci.layout import Image, Layout
from piimage.oci.models import ARM64, Execution, ImageConfig, Platform, RootFileSystem
from piimage.oci.pack import pack_layer
from piimage.steps import Builder, Job, Step
from piimage.trees import Entry, Kind, file, read_tar, tar_chunks

EXAMPLE = Path(__file__).parents[3] / "examples" / "qemu-virt.yml"
LABEL = "org.mobyproject.config"
GETTY = "GETTY"
"""What the stand-in for getty begins its line with."""

_APPLETS = ("sh", "cat", "chmod", "cp", "echo", "grep", "head", "hostname", "id", "ip", "kill",
            "ls", "mkdir", "mktemp", "mount", "mv", "od", "rm", "sed", "sleep", "sysctl", "touch",
            "tr", "uname", "wc")  # fmt: skip
_DROP = ("usr/share/**", "usr/lib/systemd/**", "usr/lib/*/gconv/**", "usr/lib/locale/**")
# No udev runs there, and the address has to stay when the container ends.
_DHCPCD_CONF = b"nodev\nipv4only\nnoarp\npersistent\nwaitip 4\nallowinterfaces eth*\ntimeout 120\n"
_GETTY = f"""#!/bin/sh
echo "{GETTY} %s for $(uname -n), insecure: ${{INSECURE:-no}}" >/dev/console
while :; do sleep 3600; done
"""
_RNGD = b"""#!/bin/sh
while :; do head -c 16 /dev/hwrng | od -An -tx1; sleep 60; done
"""


@dataclass(frozen=True)
class Recipe:
    """One image: packages, files over them, and what LinuxKit's label says of it."""

    command: tuple[str, ...]
    label: Mapping[str, object] | None
    packages: tuple[str, ...] = ("busybox-static",)
    files: tuple[File, ...] = ()
    folders: tuple[str, ...] = ()
    users: tuple[User, ...] = (
        User(name="root", uid=0, gid=0, gecos="root", home="/root", shell="/bin/sh"),
    )
    groups: tuple[Group, ...] = (Group(name="root", gid=0),)
    links: Mapping[str, str] = field(default_factory=dict)


def _getty(text: str, **more: object) -> Recipe:
    return Recipe(
        ("/usr/bin/getty",),
        {"capabilities": ["all"], "pid": "host", "binds": ["/dev:/dev"],
         "devices": [{"path": "all", "type": "c"}], **more},
        files=(File("usr/bin/getty", (_GETTY % text).encode(), 0o755),),
    )  # fmt: skip


RECIPES: Mapping[str, Recipe] = {
    "linuxkit/dhcpcd": Recipe(
        ("/sbin/dhcpcd",),
        {"capabilities": ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_NET_BIND_SERVICE", "CAP_SETUID",
                          "CAP_SETGID", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_CHOWN"]},
        packages=("busybox-static", "dhcpcd-base"),
        files=(File("dhcpcd.conf", _DHCPCD_CONF),),
        folders=("run/dhcpcd", "var/lib/dhcpcd", "tmp"),
        users=(
            User(name="root", uid=0, gid=0),
            User(name="dhcpcd", uid=100, gid=100, home="/usr/lib/dhcpcd"),
        ),
        groups=(Group(name="root", gid=0), Group(name="dhcpcd", gid=100)),
    ),
    "linuxkit/getty": _getty("is here"),
    "linuxkit/sysctl": Recipe(
        ("/sbin/sysctl", "-p", "/etc/sysctl.d/10-forward.conf"),
        {"capabilities": ["CAP_SYS_ADMIN", "CAP_NET_ADMIN"], "pid": "host", "readonly": True},
        folders=("etc/sysctl.d",),
    ),
    "linuxkit/rngd": Recipe(
        ("/usr/bin/rngd",),
        {"capabilities": ["CAP_SYS_ADMIN"], "devices": ["/dev/hwrng"]},
        files=(File("usr/bin/rngd", _RNGD, 0o755),),
    ),
    "linuxkit/sshd": Recipe(
        ("/usr/sbin/dropbear", "-F", "-E", "-R", "-s", "-p", "22"),
        {"capabilities": ["all"], "pid": "host", "binds": ["/etc/resolv.conf:/etc/resolv.conf"]},
        packages=("busybox-static", "dropbear-bin"),
        files=(File("etc/shells", b"/bin/sh\n"),),
        folders=("etc/dropbear", "root", "run", "var", "tmp"),
        links={"var/run": "/run"},
    ),
    "busybox": Recipe(("/bin/sh",), None),
}  # fmt: skip


@dataclass(frozen=True)
class Publisher:
    """Makes images: their parts in the store of the builds, themselves in a layout elsewhere.

    The two are apart, so that a build has to pull. `mark` is written into each image's system
    files and labels, so that no earlier run left the same image behind.
    """

    sources: Inputs
    layout: Layout
    mark: str

    def images(self) -> Iterator[tuple[str, Image]]:
        """Give every image that LinuxKit's examples name, by repository."""
        board = load_board("qemu-virt")
        lock = self._lock(board)
        yield "linuxkit/kernel", self._kernel(board, lock)
        for name in ("init", "runc", "containerd"):
            text = f"{name} {self.mark}\n".encode()
            yield f"linuxkit/{name}", self.image([file(f"etc/linuxkit-{name}", text)])
        for name, recipe in RECIPES.items():
            yield name, self._image(name, recipe, lock)

    def moved_getty(self) -> Image:
        """Return a getty that says something else."""
        return self._image("linuxkit/getty", _getty("has moved"), self._lock_of_getty())

    def demanding_getty(self) -> Image:
        """Return a getty whose label asks for more."""
        recipe = _getty("is here", seccomp="unconfined")
        return self._image("linuxkit/getty", recipe, self._lock_of_getty())

    def image(
        self,
        entries: Iterable[Entry],
        execution: Execution | None = None,
        platform: Platform = ARM64,
    ) -> Image:
        """Return an image of one layer."""
        packed = pack_layer(self.layout.store, entries)
        execution = execution or Execution()
        labels = {**(execution.labels or {}), "mark": self.mark}
        config = ImageConfig(
            os=platform.os,
            architecture=platform.architecture,
            variant=platform.variant,
            config=execution.model_copy(update={"labels": labels}),
            rootfs=RootFileSystem(diff_ids=(packed.diff_id,)),
        )
        return self.layout.write_image(config, [packed.descriptor])

    def _lock(self, board: Board) -> Lock:
        kernel = [request for request in requests_of(board) if request.root == "kernel"]
        return self._pinned([*kernel, *(Request(n, r.packages) for n, r in RECIPES.items())])

    def _lock_of_getty(self) -> Lock:
        return self._pinned([Request("linuxkit/getty", ("busybox-static",))])

    def _pinned(self, wanted: list[Request]) -> Lock:
        board = load_board("qemu-virt")
        pinning = self.sources.pinning(suites(board))
        lock = pinning.lock(tuple(wanted), None, frozenset())
        self.sources.fetcher().fetch(lock.packages)
        return lock

    def _made(self, *steps: Step) -> Job:
        sources = self.sources
        return Builder(sources.store, sources.runner, sources.emit).build(*steps)

    def _image(self, name: str, recipe: Recipe, lock: Lock) -> Image:
        links = {folder: f"usr/{folder}" for folder in ("bin", "sbin", "lib")}
        applets = {f"usr/bin/{applet}": "/usr/bin/busybox" for applet in _APPLETS}
        rules = Rules(
            drop=_DROP,
            links={**links, **applets, "usr/sbin/sysctl": "/usr/bin/busybox", **recipe.links},
            folders=tuple(Folder(path) for path in recipe.folders),
        )
        above = Rules(files=recipe.files, users=recipe.users, groups=recipe.groups)
        packages = tuple(map(deb_file, lock.of_root(name)))
        layers: tuple[Layer, ...] = (PackagesLayer(name, packages, rules), FilesLayer(name, above))
        tars = tuple(LayerTar(layer) for layer in layers)
        job = self._made(*tars)
        entries = (entry for tar in tars for entry in _tar(job, tar))
        labels = {} if recipe.label is None else {LABEL: json.dumps(recipe.label)}
        return self.image(entries, Execution(cmd=recipe.command, labels=labels))

    def _kernel(self, board: Board, lock: Lock) -> Image:
        kernel = UnpackedKernel((), tuple(package.blob for package in lock.of_root("kernel")))
        modules = ModuleTree(kernel, board.modules.boot, board.modules.late)
        job = self._made(kernel, modules)
        found = [_lib(entry) for entry in _tar(job, modules, "tree") if entry.kind is Kind.FILE]
        tar = self.layout.store.add_stream(tar_chunks(found))
        content = {"kernel": job.file(kernel, "image"), "kernel.tar": self.layout.store.path(tar)}
        return self.image(file(name, path.read_bytes()) for name, path in content.items())


def requests_of(board: Board) -> tuple[Request, ...]:
    """Return what a build for `board` asks of the archive."""
    return requests(load([EXAMPLE], [], {}), board, ())


def _lib(entry: Entry) -> Entry:
    """Return the entry of a module where LinuxKit's kernels have it: below /lib."""
    data = b"".join(entry.content())
    return replace(entry, path=entry.path.removeprefix("usr/"), content=lambda: (data,))


def _tar(job: Job, step: Step, name: str = "") -> Iterator[Entry]:
    with job.file(step, name).open("rb") as stream:
        yield from read_tar(stream, step.title)
