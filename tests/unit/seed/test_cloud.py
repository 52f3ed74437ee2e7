"""The metadata of a cloud become settings, by a real HTTP server."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from piimage_seed import card, cloud
from piimage_seed.cloud import Service, Unreachable, main

from tests.metadata import Cloud, serving
from tests.unit.seed.files import KEY, OTHER

EC2 = {
    "meta-data/local-hostname": b"ip-10-0-0-5.eu-central-1.compute.internal",
    "meta-data/public-keys/": b"0=laptop\n1=office",
    "meta-data/public-keys/0/openssh-key": f"{KEY}\n".encode(),
    "meta-data/public-keys/1/openssh-key": f"{OTHER}\n".encode(),
}


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that would have been set as this host's."""
    found: list[str] = []
    monkeypatch.setattr(socket, "sethostname", found.append)
    return found


def applied(service: Cloud, root: Path) -> int:
    with serving(service):
        return main(str(root), {"METADATA_ADDRESS": service.address})


def settings(root: Path) -> dict[str, str]:
    folder = root / card.PROVISION
    return {path.name: path.read_text() for path in folder.iterdir()} if folder.exists() else {}


def test_name_and_keys_are_taken_with_a_token(
    tmp_path: Path, names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    service = Cloud(EC2)
    assert applied(service, tmp_path) == 0
    assert settings(tmp_path) == {
        "hostname": "ip-10-0-0-5\n",
        "authorized_keys": f"{KEY}\n{OTHER}\n",
    }
    assert (tmp_path / card.PROVISION / "authorized_keys").stat().st_mode & 0o777 == 0o600
    assert names == ["ip-10-0-0-5"]
    assert service.requests[0] == "PUT /latest/api/token 200"
    assert not [line for line in service.requests if line.endswith("401")]
    shown = capsys.readouterr().out.splitlines()
    assert shown == ["cloud-metadata: settings: host name ip-10-0-0-5, 2 SSH keys for root"]


def test_a_service_without_tokens_is_asked_without_one(tmp_path: Path) -> None:
    assert applied(Cloud(EC2, tokens=False), tmp_path) == 0
    assert settings(tmp_path)["hostname"] == "ip-10-0-0-5\n"


def test_no_credentials_are_asked_for(tmp_path: Path) -> None:
    service = Cloud(EC2)
    applied(service, tmp_path)
    assert not [line for line in service.requests if "iam" in line or "credentials" in line]


def test_user_data_come_before_the_metadata(tmp_path: Path, names: list[str]) -> None:
    text = (
        f"#cloud-config\nhostname: orangery\nssh_authorized_keys: [{KEY}]\ntimezone: Asia/Tokyo\n"
    )
    applied(Cloud({**EC2, "user-data": text.encode()}), tmp_path)
    found = settings(tmp_path)
    assert (found["hostname"], found["timezone"]) == ("orangery\n", "Asia/Tokyo\n")
    assert found["authorized_keys"] == f"{KEY}\n{OTHER}\n"
    assert names == ["orangery"]
    kept = tmp_path / cloud.FOLDER / "user-data"
    assert kept.read_text() == text
    assert kept.stat().st_mode & 0o777 == 0o600


def test_user_data_of_another_form_are_kept_for_containers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = b"#!/bin/sh\nrm -rf /\n"
    applied(Cloud({**EC2, "user-data": data}), tmp_path)
    assert (tmp_path / cloud.FOLDER / "user-data").read_bytes() == data
    assert "it is no #cloud-config, and only kept for containers" in capsys.readouterr().out
    assert settings(tmp_path)["hostname"] == "ip-10-0-0-5\n"


def test_user_data_that_cannot_be_read_leave_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    applied(Cloud({**EC2, "user-data": b"#cloud-config\na: [\n"}), tmp_path)
    assert "user-data: not applied: line 3 is not valid YAML" in capsys.readouterr().out
    assert settings(tmp_path)["hostname"] == "ip-10-0-0-5\n"


def test_what_is_no_name_and_no_key_is_said_and_left_out(
    tmp_path: Path, names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    content = {
        "meta-data/local-hostname": b"-\x1b[31m-",
        "meta-data/public-keys/": b"0=a\n../../x=b\n1=c",
        "meta-data/public-keys/0/openssh-key": b"ssh-ed25519 AAAA",
    }
    service = Cloud(content)
    assert applied(service, tmp_path) == 0
    assert settings(tmp_path) == {}
    assert names == []
    shown = capsys.readouterr().out
    assert "public key 0: " in shown
    assert "host name " in shown
    assert "\x1b" not in shown
    assert "settings: none" in shown
    assert not [line for line in service.requests if ".." in line]


@pytest.mark.slow
@pytest.mark.parametrize("status", [401, 500])
def test_a_service_that_refuses_changes_nothing(
    tmp_path: Path, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert applied(Cloud(EC2, refusal=status), tmp_path) == 0
    assert settings(tmp_path) == {}
    shown = capsys.readouterr().out
    assert f"nothing is changed: it gives no token (status {status})" in shown


def test_a_service_that_fails_in_between_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service = Cloud(EC2, tokens=False, refusal=503)
    with serving(service):
        with pytest.raises(Unreachable, match="no token"):
            Service(service.address)
        service.refusal = 0
        open_service = Service(service.address)
        service.refusal = 503
        with pytest.raises(Unreachable, match="status 503"):
            open_service.get("user-data")


def test_a_machine_without_a_cloud_boots_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cloud, "_PAUSE_S", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(Unreachable):
        Service(address, patience=0.1)
    monkeypatch.setattr(Service, "_begin", _unreachable)
    assert main(str(tmp_path), {}) == 0
    assert settings(tmp_path) == {}
    expected = "no answer from 169.254.169.254:80, nothing is changed: Connection refused"
    assert expected in capsys.readouterr().out


def _unreachable(service: Service, deadline: float) -> None:
    raise Unreachable("Connection refused")


def test_what_cannot_be_written_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").write_text("a file where a folder has to be")
    assert applied(Cloud(EC2), tmp_path) == 1
    assert "the settings cannot be written: Not a directory" in capsys.readouterr().out


def test_a_name_that_cannot_be_set_counts_from_the_next_boot_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(name: str) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(socket, "sethostname", refuse)
    assert applied(Cloud(EC2), tmp_path) == 0
    assert settings(tmp_path)["hostname"] == "ip-10-0-0-5\n"
    assert "counts from the next boot on: Operation not permitted" in capsys.readouterr().out
