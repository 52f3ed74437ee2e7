"""A container and its spec, for the tests of this folder."""

from __future__ import annotations

from typing import Any

from piimage.config.container import (
    ContainerConfig,
    merge,
    secure_defaults,
)
from piimage.container.rootfs import Root, notes_of
from piimage.container.spec import Container, runtime_spec
from piimage.oci.models import Execution
from piimage.trees import file, folder

PASSWD = b"root:x:0:0::/:/bin/sh\nsensor:x:110:120::/:\nbroken:x:y\nhuge:x:99999999999:1::/:\n"
GROUP = b"root:x:0:\nsensor:x:120:\ni2c:x:130:sensor,other\nspi:x:131:sensor\n"
ROOT = Root([notes_of([folder("etc"), file("etc/passwd", PASSWD), file("etc/group", GROUP)])])
IMAGE = Execution(entrypoint=("/bin/entry",), cmd=("arg",), env=("A=1",), working_dir="/work")
IDS = {"dhcp": 100, "web": 103}
MAPPING = [{"containerID": 0, "hostID": 100000, "size": 65536}]


def container(
    image: Execution = IMAGE,
    profile: bytes | None = None,
    base: ContainerConfig | None = None,
    **fields: Any,
) -> Container:
    entry = ContainerConfig.model_validate(fields)
    config = merge(base or secure_defaults(), entry)
    return Container("web", "services", "web", config, image, ROOT, ("aa",), "pi4.yml:9:5", profile)


def spec(image: Execution = IMAGE, **fields: Any) -> dict[str, Any]:
    return runtime_spec(container(image, **fields), IDS)


def mounts(**fields: Any) -> dict[str, dict[str, Any]]:
    return {mount["destination"]: mount for mount in spec(**fields)["mounts"]}
