"""The ready-made Docker as files and modules of the system."""

from __future__ import annotations

from piimage.config.models import Appliance
from piimage.plan.docker import docker_files, docker_modules


def appliance(*services: dict[str, str], **fields: object) -> Appliance:
    return Appliance.model_validate({"board": "pi4", "services": services, **fields})


WHALE = {"name": "whale", "use": "docker"}


def test_the_pi_has_the_command_that_docker_over_ssh_calls() -> None:
    found = {file.path: file for file in docker_files(appliance(WHALE))}
    assert set(found) == {"usr/bin/docker", "etc/piimage/docker"}
    assert found["usr/bin/docker"].mode == 0o755
    assert bytes(found["etc/piimage/docker"].content) == b"SERVICE='whale'\n"


def test_without_docker_the_system_has_nothing_of_it() -> None:
    without = appliance({"name": "sshd", "use": "sshd"})
    assert list(docker_files(without)) == []
    assert docker_modules(without) == ()


def test_the_modules_are_those_of_docker_s_networks() -> None:
    found = docker_modules(appliance(WHALE))
    assert {"bridge", "veth", "nft_compat", "xt_MASQUERADE", "xt_addrtype"} <= {*found}


def test_a_kernel_of_the_file_brings_its_own_modules() -> None:
    own = appliance(WHALE, kernel={"image": "registry.example.org/kernel:v1"})
    assert docker_modules(own) == ()
