"""A folder that stands for a Pi's root, with stand-ins for what needs containerd and process 1.

A layer is ``hsqs`` and JSON here: its "mount" is an unpacked folder. A service's container.env says
in FATE what becomes of it when it is started, in REHEARSAL what is wrong with it in a rehearsal.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from piimage import resources
from piimage.config.container import ContainerConfig
from piimage.container.rootfs import Root
from piimage.container.spec import Container
from piimage.deploy.hosts import Host
from piimage.deploy.pi import PiTarget, Wish
from piimage.deploy.pipe import Pipe
from piimage.deploy.release import Release
from piimage.deploy.ssh import Ssh
from piimage.oci.models import Execution
from piimage.run import Runner
from piimage.store import Blob, Store

AGENT = resources.path("appliance") / "agent" / "lib"
MACHINE = os.uname().machine
TOOL = "123"
SWITCH = """
import json, os, pathlib, subprocess, sys
root = pathlib.Path(__file__).parents[3]
run, store = root / "run/piimage", root / "data/piimage"
facts = dict(l.split("=", 1) for l in (run / "boot").read_text().splitlines())
slot = facts["PIIMAGE_SLOT_CONTAINERS"].strip("'")

def point(link, target):
    new = link.with_name(link.name + ".new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.rename(link)

def content(folder, name):
    return {f.name: f.read_text() for f in (folder / "services" / name).glob("*")}

def mount(layer):
    folder = run / "layers" / layer
    if not folder.exists():
        data = (store / "layers" / (layer + ".squashfs")).read_bytes()
        for path, text in json.loads(data[4:]).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
    return folder

def use(layer):
    folder = mount(layer)
    old = (run / "containers").resolve()
    for path in sorted((folder / "services").iterdir()):
        if content(old, path.name) != content(folder, path.name):
            start(folder, path.name)
    point(run / "containers", "layers/" + layer)

def start(folder, name):
    env = (folder / "services" / name / "container.env").read_text()
    state, health, code = {
        "crash": ("back-off", "", "7"), "never": ("running", "starting", ""),
        "unhealthy": ("running", "unhealthy", ""), "gone": ("running", "running", ""),
    }.get(env.partition("FATE='")[2].partition("'")[0], ("running", "healthy", ""))
    place = run / "services" / name
    place.mkdir(parents=True, exist_ok=True)
    (place / "exit").unlink(missing_ok=True)
    (place / "state").write_text(state + "\\n")
    (place / "pid").write_text("1\\n")
    (run / "health").mkdir(exist_ok=True)
    (run / "health" / name).write_text(health + "\\n")
    if "FATE='gone'" in env:
        (place / "pid").write_text("999999999\\n")
        # Its runner learns of it later.
        tell = f"sleep 0.5; echo 7 >{place}/exit; echo back-off >{place}/state"
        subprocess.Popen(["sh", "-c", tell], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if code:
        (place / "exit").write_text(code + "\\n")

words = sys.argv[1:]
(root / "switched").open("a").write(" ".join(words) + "\\n")
if words[0] == "--mount":
    mount(words[1])
else:
    use(words[1])
"""
REHEARSE = """
import os, pathlib, re, sys
root = pathlib.Path(__file__).parents[3]
run = root / "run/piimage"
prepare = sys.argv[1] == "--prepare"
if sys.argv[1] == "--clean":
    sys.exit()
layer, name = sys.argv[2:4] if prepare else sys.argv[1:3]
folder, place = run / "layers" / layer / "services" / name, run / "rehearsal" / name
if prepare:
    (place / "scratch").mkdir(parents=True)
    print(f"/run/piimage/layers/{layer}/services/{name}/config.json")
else:
    (root / "rehearsed").open("a").write(name + " " + (place / "config.json").read_text() + "\\n")
    fate = (folder / "container.env").read_text().partition("REHEARSAL='")[2].partition("'")[0]
    if fate:
        print(fate)
    for path in sorted(place.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    place.rmdir()
"""
INITCTL = """
import pathlib, sys
root = pathlib.Path(__file__).parents[2]
verb, name = sys.argv[1:]
place = root / "run/piimage/services" / name
(root / "initctl").open("a").write(verb + " " + name + "\\n")
(place / "state").write_text({"stop": "stopped"}.get(verb, "running") + "\\n")
"""


CONFINED: dict[str, object] = {
    "process": {"args": ["/bin/x"]},
    "root": {"path": "/run/piimage/rootfs/services/x"},
    "mounts": [{"destination": "/sys", "type": "sysfs", "source": "sysfs"}],
    "linux": {
        "namespaces": [{"type": "pid"}, {"type": "mount"}],
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        "readonlyPaths": ["/proc/sys"],
    },
}
"""A config.json of which nothing reaches out of its container."""


def layer(files: Mapping[str, str]) -> bytes:
    return b"hsqs" + json.dumps(files).encode()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def containers(**services: str) -> dict[str, str]:
    """The containers layer of services with a version each: ``one="1"``, ``one="1 crash"``.

    ``1 needs-token`` is one that uses the secret token, ``1 tried`` one that can be rehearsed,
    ``1 fails`` one that does not pass.
    """
    found = {}
    for name, version in services.items():
        number, *fate = version.split()
        own = sha256(layer({"version": number, "of": name}))
        config = {"version": number} | (CONFINED if {"tried", "fails"} & {*fate} else {})
        trouble = "it exited with code 7" if "fails" in fate else ""
        found[f"services/{name}/config.json"] = json.dumps(config)
        found[f"services/{name}/layers"] = f"{own}\n"
        needs = {word for word in fate if word.startswith("needs-")}
        env = f"FATE='{' '.join({*fate} - needs - {'tried', 'fails'})}'\nREHEARSAL='{trouble}'\n"
        env += "".join(f"SECRETS='{word.removeprefix('needs-')}'\n" for word in needs)
        found[f"services/{name}/container.env"] = env
        found[f"finit.d/{name}.conf"] = f"service {name}\n"
    return found


class Stand:
    """One Pi."""

    def __init__(self, folder: Path, **services: str) -> None:
        self.root = folder
        shipped = layer(containers(**services))
        self.slot = sha256(shipped)
        slot = folder / "slot"
        self.write(
            "run/piimage/boot", f"PIIMAGE_SLOT='/slot'\nPIIMAGE_SLOT_CONTAINERS='{self.slot}'\n"
        )
        self.write(
            "slot/appliance.json",
            json.dumps({"board": "qemu-virt", "kernel": "6.12", "system": ["a" * 64],
                        "files": {"config.txt": "b" * 64, "layers/x": "c" * 64}}),
        )  # fmt: skip
        (slot / "layers").mkdir()
        for content in [shipped, *_own_layers(services)]:
            (slot / "layers" / f"{sha256(content)}.squashfs").write_bytes(content)
        for path, text in containers(**services).items():
            self.write(f"run/piimage/layers/{self.slot}/{path}", text)
        (folder / "run/piimage/containers").symlink_to(f"layers/{self.slot}")
        for name in services:
            self.write(f"run/piimage/services/{name}/state", "running\n")
            self.write(f"run/piimage/services/{name}/pid", "1\n")
            self.write(f"run/piimage/health/{name}", "healthy\n")
            self.write(f"var/log/services/{name}/log", f"{name} printed this\n")
        (folder / "data/piimage").mkdir(parents=True)
        self._program("usr/lib/piimage/switch", SWITCH)
        self._program("usr/lib/piimage/rehearse", REHEARSE)
        self._program("usr/sbin/initctl", INITCTL)
        self.write("proc/meminfo", "MemTotal: 900000 kB\nMemAvailable: 500000 kB\n")

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def _program(self, path: str, text: str) -> None:
        self.write(path, f"#!{sys.executable} -IS\n{text}")
        (self.root / path).chmod(0o755)

    def text(self, path: str) -> str:
        return (self.root / path).read_text()

    @property
    def running(self) -> str:
        return (self.root / "run/piimage/containers").readlink().name

    @property
    def layers(self) -> set[str]:
        return {path.name for path in (self.root / "data/piimage/layers").glob("*")}

    def everything(self) -> dict[str, bytes]:
        """All files, to see that nothing was written."""
        found = (path for path in self.root.rglob("*") if path.is_file())
        return {str(path.relative_to(self.root)): path.read_bytes() for path in found}

    def command(self) -> list[str]:
        return [sys.executable, "-I", "-S", str(AGENT), "serve", "--root", str(self.root)]

    @contextmanager
    def agent(self) -> Iterator[Talk]:
        """A session with its agent, without SSH."""
        process = subprocess.Popen(
            self.command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        try:
            yield Talk(process)
        finally:
            for stream in (process.stdin, process.stdout):
                assert stream is not None
                stream.close()
            process.wait(timeout=30)


class Talk:
    """Requests and answers, by the tool's own frames."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self.pipe = Pipe(process.stdout.fileno(), process.stdin.fileno(), "pi", threading.Event())
        self.number = 0

    def tell(self, op: str, body: bytes = b"", **fields: object) -> None:
        self.number += 1
        self.pipe.write({"op": op, "id": self.number, **fields}, body, 30)

    def ask(self, op: str, body: bytes = b"", **fields: object) -> dict[str, object]:
        self.tell(op, body, **fields)
        return self.pipe.read(30)[0]

    def greet(self) -> dict[str, object]:
        return self.ask("hello", protocols=[1, 1])

    def data(self, body: bytes, *, last: bool) -> None:
        self.pipe.write({"op": "data", "last": last}, body, 30)

    def refusal(self, op: str, body: bytes = b"", **fields: object) -> str:
        """The code of the refusal that the request gets."""
        return code(self.ask(op, body, **fields))

    def put(self, data: bytes, digest: str = "", size: int = 0) -> dict[str, object]:
        """Send a layer as a whole; the answer that ends it."""
        answer = self.ask("put", layer=digest or sha256(data), size=size or len(data))
        if answer.get("offset") is None or answer.get("stored"):
            return answer
        self.data(data[int(str(answer["offset"])) :], last=True)
        return self.pipe.read(30)[0]


def code(answer: Mapping[str, object]) -> str:
    error = answer.get("error")
    assert isinstance(error, dict), answer
    return str(error["code"])


def _own_layers(services: Mapping[str, str]) -> list[bytes]:
    return [layer({"version": v.partition(" ")[0], "of": n}) for n, v in services.items()]


def definition(name: str, **fields: object) -> Container:
    """The service for which a file says `fields`."""
    config = ContainerConfig.model_validate({"command": ["/bin/x"], **fields})
    place = f"services.{name}"
    return Container(name, "services", name, config, Execution(), Root([]), ("aa",), place)


def release(store: Store, **services: str) -> Release:
    """A release of services with a version each."""
    folders = containers(**services)
    top = store.add_bytes(layer(folders))
    blobs: list[Blob] = [store.add_bytes(content) for content in _own_layers(services)]
    return Release(
        board="qemu-virt", kernel="6.12", system={"a" * 64: "the system"},
        files={"config.txt": "b" * 64}, folders={p: t.encode() for p, t in folders.items()},
        definitions=tuple(definition(name) for name in services),
        containers=top.sha256, layers={blob.sha256: blob for blob in (*blobs, top)}, note="one.yml",
    )  # fmt: skip


def fake_ssh(folder: Path, hosts: Mapping[str, str]) -> Runner:
    """A runner whose ``ssh`` runs a command of this computer for each host name."""
    folder.mkdir(exist_ok=True)
    cases = "".join(f"*' {name} '*) exec {command} ;;\n" for name, command in hosts.items())
    (folder / "ssh").write_text(
        "#!/bin/sh\n"
        'case " $* " in *" -G "*) echo user root; exit 0 ;; esac\n'
        f'case " $* " in\n{cases}\n'
        "*) echo 'ssh: connect to host: Connection refused' >&2; exit 255 ;;\nesac\n"
    )
    (folder / "ssh").chmod(0o755)
    return Runner(environment={"PATH": f"{folder}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"})


def liar(folder: Path, answers: Sequence[object]) -> str:
    """A program that answers each request with what it is told, whatever is asked."""
    path = folder / "liar.py"
    path.write_text(
        "import json, os, struct, sys\n"
        f"for answer in json.loads({json.dumps(json.dumps(answers))}):\n"
        "    head = os.read(0, 10)\n"
        "    if len(head) < 10: break\n"
        "    _, n, m = struct.unpack('>2sII', head)\n"
        "    while n + m: got = os.read(0, min(n + m, 65536)); n -= len(got)\n"
        "    data = answer.encode('latin-1') if isinstance(answer, str) else None\n"
        "    if data is None:\n"
        "        w = json.dumps(answer).encode()\n"
        "        data = struct.pack('>2sII', b'\\xb1\\x1a', len(w), 0) + w\n"
        "    os.write(1, data)\n"
    )
    return shlex.join([sys.executable, str(path)])


def target(
    runner: Runner, store: Store, name: str, wish: Release | Wish,
    cancelled: threading.Event | None = None,
) -> PiTarget:  # fmt: skip
    wish = Wish(wish, wait=2) if isinstance(wish, Release) else wish
    return PiTarget(
        Host(name, name), wish, Ssh(runner, ask=False), store, runner,
        cancelled or threading.Event(),
    )  # fmt: skip
