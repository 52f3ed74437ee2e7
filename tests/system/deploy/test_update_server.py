"""Pis that call a real goosebit: stand-ins with the poller's own code."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest

from piimage.cli.main import execute
from tests.programs.deploy.calling_pi import CallingPi, release
from tests.programs.deploy.slots_stand import SlotsStand
from tests.system.deploy.counting_proxy import counting
from tests.system.deploy.goosebit import PATIENCE, Goosebit, goosebit
from tests.system.ports import free_port
from tests.unit.signing_keys import Pair, pair


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Goosebit]:
    with goosebit(tmp_path_factory.mktemp("goosebit")) as found:
        yield found


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return pair(tmp_path_factory.mktemp("keys"), "ours")


def stand(folder: Path, keys: Pair, server: Goosebit, name: str) -> CallingPi:
    """A stand-in that the server has registered under `name`."""
    pi = CallingPi(SlotsStand(folder), keys)
    pi.set_up(server.url, "DEFAULT", name)
    pi.call()
    assert server.device(name)["sw_version"]
    return pi


def offered(server: Goosebit, name: str, bundle: Path) -> None:
    server.assign(name, server.upload(bundle))


def test_goosebit_knows_what_a_pi_is(server: Goosebit, keys: Pair, tmp_path: Path) -> None:
    pi = stand(tmp_path, keys, server, "shed")
    found = server.device("shed")
    assert found["hardware"]["model"] == "qemu-virt"
    assert found["hardware"]["revision"] == "greenhouse"
    assert found["sw_version"].startswith("1.1764374400.0+")
    assert pi.call().sleep == 5


def test_containers_come_from_goosebit_and_it_learns_the_version(
    server: Goosebit, keys: Pair, tmp_path: Path
) -> None:
    pi = stand(tmp_path, keys, server, "roof")
    made = pi.containers_bundle(tmp_path / "roof.swu", release(pi, one="2", two="1"))
    offered(server, "roof", made)
    pi.call_until(lambda: server.device("roof")["last_state"] == "Finished")
    version = pi.action()["version"]
    assert server.device("roof")["sw_version"] == version
    number = pi.stand.pi.text("switched")
    pi.call()
    assert pi.stand.pi.text("switched") == number  # it is not offered again


def test_a_version_is_reported_as_it_ends_though_the_server_restarts_meanwhile(
    server: Goosebit, keys: Pair, tmp_path: Path
) -> None:
    pi = stand(tmp_path, keys, server, "barn")
    made = pi.system_bundle(tmp_path / "barn.swu")
    offered(server, "barn", made)
    pi.call_until(lambda: pi.action().get("state") == "trying")
    assert server.device("barn")["last_state"] == "Running"
    server.stop()
    assert pi.call().sleep <= 10
    server.start()
    pi.call_until(lambda: server.device("barn")["last_state"] == "Finished")
    assert pi.stand.autoboot.startswith("[all]\ntryboot_a_b=1\nboot_partition=3")


def test_a_version_that_is_undone_is_an_error_with_its_cause_and_not_offered_again(
    server: Goosebit, keys: Pair, tmp_path: Path
) -> None:
    pi = stand(tmp_path, keys, server, "yard")
    pi.stand.pi.write("fate", "panic")
    offered(server, "yard", pi.system_bundle(tmp_path / "yard.swu", order=(2, 1764374401)))
    pi.call_until(lambda: server.device("yard")["last_state"] == "Error")
    assert "did not come as far as mounting /data" in server.log_of("yard")
    before = pi.stand.slot(3)
    pi.call()
    assert pi.stand.slot(3) == before
    assert pi.action()["state"] == "failure"


def test_one_service_that_changes_costs_less_than_20_kb(
    server: Goosebit, keys: Pair, tmp_path: Path
) -> None:
    with counting(server.port) as proxy:
        pi = CallingPi(SlotsStand(tmp_path), keys)
        pi.set_up(f"http://127.0.0.1:{proxy.port}", "DEFAULT", "hut")
        pi.call()
        made = pi.containers_bundle(tmp_path / "hut.swu", release(pi, one="4", two="1"))
        offered(server, "hut", made)
        before = proxy.received
        pi.call_until(lambda: server.device("hut")["last_state"] == "Finished")
        assert proxy.received - before < 20_000


def test_the_page_of_the_fleet_is_goosebits_list(
    server: Goosebit, keys: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    stand(tmp_path, keys, server, "attic")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login a@b.example password shed\n")
    monkeypatch.setenv("NETRC", str(netrc))
    words = ["status", "attic", "--inventory", f"goosebit+{server.url}"]
    assert execute(words) == 0
    heads, row, *_ = capsys.readouterr().out.splitlines()
    assert heads.split()[:4] == ["DEVICE", "BOARD", "FILE", "RUNS"]
    assert row.split()[:3] == ["attic", "qemu-virt", "greenhouse"]
    assert row.split()[3].startswith("1.1764374400.0+")
    assert row.endswith("s ago")
    netrc.write_text("machine 127.0.0.1 login a@b.example password other\n")
    assert execute(words) == 1
    assert "does not accept the login" in capsys.readouterr().err


# --- the ready-made service, with the interpreter of this computer


@contextmanager
def ready_made(venv: Path, folder: Path, port: int) -> Iterator[str]:
    """Run services/goosebit as its container does, but for the places."""
    environment = {
        **os.environ, "GOOSEBIT_DATA": str(folder), "GOOSEBIT_PORT": str(port),
        "GOOSEBIT_ADMIN_FILE": str(folder / "admin"), "OTEL_SDK_DISABLED": "true",
        "PYTHONPATH": str(Path(__file__).parents[3] / "services/goosebit"),
    }  # fmt: skip
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [venv / "bin/python", "-P", "-m", "goosebit_pi"],
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        end = time.monotonic() + PATIENCE
        while answer(f"http://127.0.0.1:{port}/login") != 200:
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end
            time.sleep(0.3)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        # uvicorn ends well, and then by the signal, which does nothing to process 1 of a container.
        assert process.wait(timeout=PATIENCE) in (0, -signal.SIGTERM)


def answer(url: str, **form: str) -> int:
    """The status of the answer to a GET, or to a POST with a form; 0 if there is none."""
    data = urlencode(form).encode() if form else None
    try:
        with urllib.request.urlopen(url, data, timeout=PATIENCE) as found:
            return int(found.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def test_the_ready_made_server_has_one_administrator_whose_password_is_the_secret(
    server: Goosebit, tmp_path: Path
) -> None:
    port = free_port()
    for secret in ("first secret", "second secret"):
        (tmp_path / "admin").write_text(f"{secret}\n")
        with ready_made(server.venv, tmp_path, port) as url:
            assert answer(f"{url}/login", username="admin", password=secret) == 200
            assert answer(f"{url}/login", username="admin", password="another") == 401
            for path in ("/setup", "/setup/"):
                assert answer(url + path, username="mallory", password="mine") == 403
            assert answer(f"{url}/login", username="mallory", password="mine") == 401
            assert answer(f"{url}/DEFAULT/controller/v1/pi") == 200  # a Pi may call
