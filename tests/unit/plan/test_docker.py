"""The ready-made Docker as files and modules of the system."""

from __future__ import annotations

from piimage.boards import load_board
from piimage.config.models import Appliance
from piimage.container.apparmor import DOCKER
from piimage.plan.containers import plan_containers
from piimage.plan.docker import docker_files, docker_modules

from .locks import lock_of


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


def profiles_and_binds(**fields: object) -> tuple[list[str], list[str], object]:
    """The inner profiles, the binds and the own profile of the container of Docker."""
    file = appliance(WHALE, **fields)
    lock = lock_of(file, load_board("pi4"))
    (plan,) = plan_containers(file, lock, {}).containers
    return [profile.name for profile in plan.inner], list(plan.config.binds or ()), plan.apparmor


def test_docker_finds_its_profile_loaded_and_has_none_itself() -> None:
    inner, binds, own = profiles_and_binds()
    assert inner == [DOCKER]
    assert own is None
    assert binds[-1] == "/sys/kernel/security:/sys/kernel/security:ro,bind,nosuid,nodev,noexec"
    assert len(binds) == 2


def test_with_a_kernel_of_the_file_docker_sees_nothing_of_apparmor() -> None:
    """It would not start with a kernel that has AppArmor and has not loaded the profile."""
    inner, binds, _ = profiles_and_binds(kernel={"image": "registry.example.org/kernel:v1"})
    assert inner == []
    assert not [bind for bind in binds if "security" in bind]


def test_a_container_beside_docker_has_no_view_of_the_profiles() -> None:
    file = appliance(WHALE, {"name": "sshd", "use": "sshd"})
    plans = plan_containers(file, lock_of(file, load_board("pi4")), {}).containers
    binds = {plan.name: [str(bind) for bind in plan.config.binds or ()] for plan in plans}
    assert not [bind for bind in binds["sshd"] if "security" in bind]
