"""The network section as files of the system."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from piimage import events
from piimage.boards import board_names, load_board
from piimage.compose.secret import SecretLayer
from piimage.config.models import Appliance
from piimage.errors import InputError
from piimage.kernel.package import UnpackedKernel
from piimage.locking.requests import wifi_requests
from piimage.plan.modules import plan_modules
from piimage.plan.network import (
    network_files,
    wifi_configuration,
    wifi_layers,
)
from piimage.run import Runner
from piimage.sbom.ledger import Page
from piimage.steps import Job
from piimage.store import Store
from tests.unit.plan.locks import lock_of


def appliance(**network: object) -> Appliance:
    return Appliance.model_validate({"network": network})


def wifi(**fields: object) -> str:
    network = appliance(country="JP", wifi=fields).network
    assert network is not None
    return wifi_configuration(network)


def test_a_fixed_address_is_a_file_that_sh_reads() -> None:
    ethernet = {"address": "10.0.0.2/24", "gateway": "10.0.0.1", "dns": ["10.0.0.1", "::1"]}
    (file,) = network_files(appliance(ethernet=ethernet))
    assert file.path == "etc/piimage/network"
    assert file.content == (
        b"INTERFACE='eth0'\nADDRESS='10.0.0.2/24'\nGATEWAY='10.0.0.1'\nDNS='10.0.0.1 ::1'\n"
        b"PARENT=''\nVLAN=''\n"
    )


def test_a_vlan_names_its_parent_interface_and_loads_its_module() -> None:
    vlan = appliance(ethernet={"interface": "end0.100"})
    (file,) = network_files(vlan)
    assert file.content == (
        b"INTERFACE='end0.100'\nADDRESS=''\nGATEWAY=''\nDNS=''\nPARENT='end0'\nVLAN='100'\n"
    )
    board = load_board("pi4")
    modules = plan_modules(vlan, board, UnpackedKernel((), ()), lock_of(vlan, board))
    assert modules.late == (*board.modules.late, "8021q")


def test_without_settings_of_the_wired_network_there_is_no_file() -> None:
    assert list(network_files(appliance(ethernet={}))) == []
    assert list(network_files(Appliance())) == []


def test_the_passphrase_is_read_from_its_file_and_only_its_key_is_written(tmp_path: Path) -> None:
    (tmp_path / "psk").write_text("password\nfurther lines do not count\n")
    text = wifi(ssid="IEEE", psk_file=str(tmp_path / "psk"))
    assert text.startswith("country=JP\nnetwork={\n\tssid=49454545\n\tpsk=f42c6fc5")
    assert "password" not in text


def test_wifi_without_a_network_has_the_country_only() -> None:
    assert wifi() == "country=JP\n"


def test_of_several_networks_the_first_has_the_highest_priority(tmp_path: Path) -> None:
    (tmp_path / "psk").write_text("password\n")
    listed = [
        {"ssid": "IEEE", "psk_file": str(tmp_path / "psk")},
        {"ssid": "home", "psk": "0" * 64, "hidden": True},
        {"ssid": "cafe"},
    ]
    network = appliance(country="JP", wifi=listed).network
    assert network is not None
    text = wifi_configuration(network)
    assert text.startswith("country=JP\nnetwork={\n\tssid=49454545\n\tpriority=2\n\tpsk=f42c6fc5")
    assert text.endswith(
        "}\nnetwork={\n\tssid=686f6d65\n\tscan_ssid=1\n\tpriority=1\n"
        f"\tpsk={'0' * 64}\n}}\nnetwork={{\n\tssid=63616665\n\tkey_mgmt=NONE\n}}\n"
    )


@pytest.mark.provokes("plan.bad-passphrase")
@pytest.mark.parametrize("content", ["", "short\n", "x" * 65])
def test_a_file_without_a_passphrase_is_refused_and_not_shown(tmp_path: Path, content: str) -> None:
    (tmp_path / "psk").write_text(content)
    with pytest.raises(InputError, match="not a WiFi passphrase") as caught:
        wifi(ssid="x", psk_file=str(tmp_path / "psk"))
    assert caught.value.code == "plan.bad-passphrase"
    assert "short" not in str(caught.value)


def test_a_passphrase_is_in_no_dump_of_the_file() -> None:
    joined = appliance(country="JP", wifi={"ssid": "x", "psk": "correct horse"})
    assert "correct" not in joined.model_dump_json() + repr(joined)


@pytest.mark.parametrize("board", sorted({*board_names()} - {"arm64-uefi"}))
def test_every_board_can_have_wifi_and_requests_the_regulatory_database(board: str) -> None:
    joined = appliance(country="JP", wifi={"ssid": "x"})
    (request,) = wifi_requests(joined, load_board(board))
    assert "wireless-regdb" in request.packages
    assert list(wifi_requests(Appliance(), load_board(board))) == []


def test_the_key_lies_in_a_layer_of_its_own_that_the_ledger_leaves_out(tmp_path: Path) -> None:
    joined = appliance(country="JP", wifi={"ssid": "x", "psk": "correct horse"})
    board = load_board("pi4")
    firmware, secret = wifi_layers(joined, board, lock_of(joined, board))
    assert "regulatory.db" in str(firmware)
    assert isinstance(secret, SecretLayer)
    assert [(file.path, file.mode) for file in secret.rules.files] == [
        ("etc/piimage/wifi.conf", 0o600)
    ]
    store = Store(tmp_path)
    outputs = secret.make(Job(store, Runner(), events.ignore, {}))
    assert not Page.decode(store.path(outputs["files"]).read_bytes()).files
    assert json.loads(store.path(outputs["notes"]).read_bytes())["files"] == [
        "etc/piimage/wifi.conf"
    ]


def test_the_service_that_joins_the_network_is_added_once() -> None:
    network = {"country": "JP", "wifi": {}}
    own = {"name": "radio", "use": "wifi"}
    assert [s.name for s in appliance(**network).services] == ["wifi"]
    explicit = Appliance.model_validate({"network": network, "services": [own]})
    assert [s.name for s in explicit.services] == ["radio"]
    assert Appliance.model_validate({"network": {}}).services == ()
