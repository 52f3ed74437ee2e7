"""A container's secrets: copied to memory for its user, and waited for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.programs.appliance.configured import LIBRARIES, write_container
from tests.programs.appliance.runners import pi as runner_pi
from tests.programs.appliance.runners import printed, running, state
from tests.programs.appliance.scripts import Pi, end, wait_until

__all__ = ["runner_pi"]


@pytest.fixture
def pi(tmp_path: Path) -> Pi:
    pi = Pi(tmp_path)
    pi.install_library()
    return pi


def lay(pi: Pi, container: str = "services/web") -> subprocess.CompletedProcess[str]:
    """Have the Pi copy the secrets of the service; it prints the owners that it gives."""
    libraries = "".join(f". {pi.root}/usr/lib/piimage/{name}; " for name in LIBRARIES)
    at = f"{pi.root}/containers/services/web"
    script = f"{libraries} load_container {at}; chown() {{ echo $*; }}; lay_secrets {container}"
    return subprocess.run(
        ["busybox", "sh", "-uc", script], capture_output=True, text=True, check=False
    )


def put(pi: Pi, name: str, value: str) -> None:
    pi.write(f"data/piimage/provision/secrets/{name}", value)


def test_the_copies_are_for_the_container_s_user_alone(pi: Pi) -> None:
    write_container(pi, secrets=["two", "one"], user="1234:1235")
    put(pi, "one", "1\n2")
    put(pi, "two", "second")
    put(pi, "three", "another container's")
    folder = pi.root / "run/piimage/secrets/services/web"
    done = lay(pi)
    assert done.returncode == 0, done.stderr
    owners = [f"1234:1235 {path}" for path in (folder / "one", folder / "two", folder)]
    assert done.stdout.splitlines() == owners
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "one": "1\n2", "two": "second",
    }  # fmt: skip
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o400}
    assert folder.stat().st_mode & 0o777 == 0o500
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    assert folder.parent.parent.stat().st_mode & 0o777 == 0o700


def test_a_container_of_root_keeps_root_s_files(pi: Pi) -> None:
    write_container(pi, secrets=["one"], user="0:0")
    put(pi, "one", "1")
    done = lay(pi)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_value_that_changed_replaces_the_copy(pi: Pi) -> None:
    write_container(pi, secrets=["one"], user="0:0")
    for value in ("1", "2"):
        put(pi, "one", value)
        assert lay(pi).returncode == 0
    assert (pi.root / "run/piimage/secrets/services/web/one").read_text() == "2"


def test_a_container_without_secrets_gets_no_folder(pi: Pi) -> None:
    write_container(pi)
    assert lay(pi).returncode == 0
    assert not (pi.root / "run/piimage/secrets").exists()


def test_without_a_value_nothing_is_copied_and_the_name_is_told(pi: Pi) -> None:
    write_container(pi, secrets=["one", "two"])
    put(pi, "one", "precious")
    assert lay(pi).returncode != 0
    assert not (pi.root / "run/piimage/secrets/services/web").exists()
    (line,) = pi.console()
    assert "services/web: not set: two (piimage secret set HOST NAME)" in line
    assert "precious" not in line


def test_a_service_waits_for_its_secret_and_starts_when_it_is_set(runner_pi: Pi) -> None:
    pi = runner_pi
    missing = pi.root / "run/piimage/services/one/missing"
    copy = pi.root / "run/piimage/secrets/services/one/token"
    with running(pi, "SECRETS='token'\n") as process:
        wait_until(missing.exists, "the name of the secret")
        wait_until(lambda: state(pi) == "waiting", "the state")
        assert missing.read_text() == "token\n"
        assert printed(pi, "service one: waiting for a secret that is not set: token")
        put(pi, "token", "precious")
        wait_until(lambda: state(pi) == "running", "the service")
        assert not missing.exists()
        assert copy.read_text() == "precious"
        assert end(process) == 0
    assert not copy.parent.exists()
    assert not printed(pi, "precious")


def test_a_service_that_waits_for_a_secret_ends_when_process_1_says_so(runner_pi: Pi) -> None:
    pi = runner_pi
    with running(pi, "SECRETS='token'\n") as process:
        wait_until(lambda: state(pi) == "waiting", "the state")
        assert end(process) == 0
    assert state(pi) == "stopped"
    assert not (pi.root / "run/piimage/services/one/missing").exists()


def test_the_copies_of_an_onboot_container_go_with_it(tmp_path: Path) -> None:
    pi = Pi(tmp_path)
    pi.install("onboot")
    pi.install_library()
    pi.program("runc", f"cat {tmp_path}/run/piimage/secrets/onboot/000-first/token >{tmp_path}/saw")
    pi.write("containers/onboot/000-first/config.json", "{}")
    pi.write("containers/onboot/000-first/layers", "")
    pi.write("containers/onboot/000-first/container.env", "SECRETS='token'\n")
    pi.path("run/piimage/x")
    pi.run("onboot")
    assert any("onboot 000-first: FAILED: a secret of it is not set" in x for x in pi.console())
    put(pi, "token", "precious")
    pi.run("onboot")
    assert (tmp_path / "saw").read_text() == "precious"
    assert list((tmp_path / "run/piimage/secrets/onboot").iterdir()) == []
