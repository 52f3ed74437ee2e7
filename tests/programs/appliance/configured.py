"""A container's folder as the build writes it, and its configuration as the Pi changes it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from piimage.config.container import ContainerConfig, merge, secure_defaults
from piimage.container.bundle import bundle
from piimage.container.rootfs import Root, notes_of
from piimage.container.spec import Container
from piimage.oci.models import Execution
from piimage.trees import folder
from tests.programs.appliance.scripts import Pi

_ROOT = Root([notes_of([folder(name) for name in ("dev", "proc", "sys", "etc")])])


def write_container(pi: Pi, **fields: Any) -> dict[str, Any]:
    """Write the folder of the service ``web``; return its config.json."""
    config = merge(secure_defaults(), ContainerConfig.model_validate(fields))
    image = Execution(cmd=("/bin/x",))
    container = Container("web", "services", "web", config, image, _ROOT, ("aa",), "pi.yml")
    for entry in bundle(container, {}):
        pi.path(f"containers/{entry.path}/x")
        if not entry.path.endswith("/web"):
            pi.path(f"containers/{entry.path}").rmdir()
            pi.path(f"containers/{entry.path}").write_bytes(b"".join(entry.content()))
    spec: dict[str, Any] = json.loads(pi.path("containers/services/web/config.json").read_bytes())
    return spec


def configure(pi: Pi, before: str = "") -> subprocess.CompletedProcess[str]:
    """Have the Pi configure the service after it did `before`; it prints the folder to use."""
    libraries = "".join(f". {pi.root}/usr/lib/piimage/{name}; " for name in LIBRARIES)
    at = f"{pi.root}/containers/services/web"
    script = f'load_container {at}; {before} configure {at} services/web; echo "$REPLY"'
    stubs = "mknod() { echo mknod $*; }; chown() { echo chown $*; }; "
    return subprocess.run(
        ["busybox", "sh", "-euc", libraries + stubs + script],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def configured(pi: Pi, before: str = "") -> tuple[Path, dict[str, Any]]:
    """Return the folder that the Pi uses, and the configuration in it."""
    done = configure(pi, before)
    assert done.returncode == 0, done.stderr
    used = Path(done.stdout.splitlines()[-1])
    return used, json.loads((used / "config.json").read_bytes())


LIBRARIES = ("lib.sh", "container.sh")
