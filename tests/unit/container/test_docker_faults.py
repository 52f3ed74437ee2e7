"""What the file takes away from the ready-made Docker, told by `check`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from piimage.config.load import load
from piimage.container.starts import refuse_unstartable
from piimage.errors import ErrorGroup, InputError

BRIDGED = {"name": "web", "packages": ["busybox-static"], "command": ["/x"], "net": "bridge"}
FORWARDS = {"sysctl": {"net.ipv4.ip_forward": "1"}}


def check(folder: Path, *services: dict[str, Any], **more: Any) -> None:
    file = folder / "whale.yml"
    file.write_text(yaml.safe_dump({"services": list(services), **more}))
    refuse_unstartable([file], [], {}, load([file], [], {}))


def docker(**fields: Any) -> dict[str, Any]:
    return {"name": "docker", "use": "docker", **fields}


@pytest.mark.parametrize(
    ("services", "more"),
    [
        ([docker()], {}),
        ([docker(name="whale", ports=["8080:80"]), BRIDGED], {}),
        ([docker(net="host")], {}),
        ([docker(net="host"), BRIDGED], FORWARDS),
        ([docker(binds=["/media/stick/docker:/var/lib/docker"])], {}),
        ([docker(binds=["/srv/kept/d:/var/lib/docker/"])], {"data": {"mount": "/srv/kept"}}),
        ([docker(capabilities=["all"])], {}),
        ([docker(**{"binds.add": ["/data/music:/music:ro"]})], {}),
    ],
)
def test_docker_as_the_file_may_have_it(
    services: list[dict[str, Any]], more: dict[str, Any], tmp_path: Path
) -> None:
    check(tmp_path, *services, **more)


@pytest.mark.provokes("oci.docker")
@pytest.mark.parametrize(
    ("services", "message"),
    [
        ([docker(), docker(name="second")], r"'docker' has Docker already"),
        ([docker(net="host"), BRIDGED], r"the rules for 'web' on the bridge"),
        ([docker(userns="auto")], r"Docker with a user namespace"),
        ([docker(capabilities=["CAP_NET_ADMIN"])], r"does not start without CAP_SYS_ADMIN"),
        ([docker(binds=["/data/music:/music"])], r"nothing is mounted at /var/lib/docker"),
        ([docker(binds=["/run/docker:/var/lib/docker"])], r"'/run/docker' is lost at a restart"),
        ([docker(binds=["/database:/var/lib/docker"])], r"'/database' is lost at a restart"),
    ],
)
def test_what_keeps_docker_from_running_is_told_with_its_place(
    services: list[dict[str, Any]], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        check(tmp_path, *services)
    assert caught.value.code == "oci.docker"
    assert str(caught.value.place).startswith(f"{tmp_path}/whale.yml:")


@pytest.mark.provokes("oci.docker")
def test_docker_is_a_service_and_nothing_of_the_boot(tmp_path: Path) -> None:
    with pytest.raises((InputError, ErrorGroup), match="no effect in onboot"):
        check(tmp_path, onboot=[docker(net="host")])
