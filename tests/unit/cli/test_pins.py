"""The host key of a card that was made is known to the verbs that come after."""

from __future__ import annotations

from pathlib import Path

import pytest

from piimage.card.hostkey import make_host_key, read_host_key
from piimage.cli.pins import name_to_expect, note_host_key, with_host_key
from piimage.config.models import Appliance, Ssh
from piimage.deploy.hosts import Host
from piimage.deploy.known_hosts import default_path
from piimage.events import ignore
from piimage.run import Runner


def test_the_key_of_a_card_is_noted_for_its_name_and_its_name_on_the_local_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    key = tmp_path / "key"
    make_host_key(key, Runner())
    public = " ".join((tmp_path / "key.pub").read_text().split()[:2])
    appliance = Appliance(board="pi4", hostname="Greenhouse", ssh=Ssh(host_key=str(key)))
    note_host_key(appliance, None, ignore)
    note_host_key(appliance, "shed", ignore)
    assert default_path().read_text().splitlines() == [
        f"{name} {public}" for name in ("greenhouse", "greenhouse.local", "shed", "shed.local")
    ]
    note_host_key(appliance, "pi.example.org", ignore)
    assert default_path().read_text().splitlines()[4:] == [
        f"pi.example.org {public}", f"pi.local {public}",
    ]  # fmt: skip


def test_a_file_without_a_host_key_notes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    note_host_key(Appliance(board="pi4"), None, ignore)
    note_host_key(Appliance(board="pi4", ssh=Ssh(host_key=str(tmp_path / "none"))), None, ignore)
    assert not (tmp_path / "state").exists()


def test_a_pi_answers_to_its_name_if_the_file_asks_for_mdns() -> None:
    silent = Appliance.model_validate({"board": "pi4", "hostname": "shed"})
    assert name_to_expect(silent, None) is None
    services = [{"name": "names", "use": "mdns"}]
    heard = Appliance.model_validate({"board": "pi4", "hostname": "Shed", "services": services})
    assert name_to_expect(heard, None) == "shed.local"
    assert name_to_expect(heard, "roof.example.org") == "roof.local"


def test_the_files_host_key_is_pinned_where_the_inventory_pins_none(tmp_path: Path) -> None:
    key = tmp_path / "key"
    make_host_key(key, Runner())
    own = Host("b", "b", host_key="ssh-ed25519 AAAA")
    appliance = Appliance(ssh=Ssh(host_key=str(key)))
    first, second = with_host_key((Host("a", "a"), own), appliance)
    assert first.host_key == read_host_key(key).public
    assert second == own
    assert with_host_key((own,), Appliance()) == (own,)
