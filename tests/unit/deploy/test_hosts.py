"""How hosts are named, and the inventory."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piimage.config.load import load_all
from piimage.deploy.hosts import Host, parse_host, read_inventory
from piimage.errors import InputError, PiimageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pi", Host("pi", "pi")),
        ("root@pi.local:2222", Host("root@pi.local:2222", "pi.local", "root", 2222)),
        ("ssh://pi:22/", Host("pi:22", "pi", None, 22)),
        ("10.0.0.7", Host("10.0.0.7", "10.0.0.7")),
        ("me@[fe80::1%eth0]:22", Host("me@[fe80::1%eth0]:22", "fe80::1%eth0", "me", 22)),
    ],
)
def test_a_host_is_named_as_ssh_does(text: str, expected: Host) -> None:
    assert parse_host(text) == expected


@pytest.mark.provokes("deploy.bad-host")
@pytest.mark.parametrize(
    "text", ["", "-oProxyCommand=reboot", "a@-x", "pi:0", "pi:65536", "pi:", "pi pi", "telnet://x",
             "fe80::1", "@pi", "a b@pi"]
)  # fmt: skip
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_host(text)
    assert caught.value.code == "deploy.bad-host"


@given(st.text(max_size=30))
def test_no_host_begins_with_a_dash(text: str) -> None:
    try:
        found = parse_host(text)
    except InputError:
        return
    assert not found.address.startswith("-")
    assert not (found.user or "").startswith("-")


GOOD = """
hosts:
  greenhouse: { address: 192.168.1.20, port: 2222, host_key: ssh-ed25519 AAAAC3Nz }
  shed:
  attic: me@attic.local
groups:
  outdoor: [greenhouse, shed]
"""


def _inventory(folder: Path, text: str) -> Path:
    path = folder / "hosts.yml"
    path.write_text(text)
    return path


@pytest.mark.provokes("deploy.unknown-host")
def test_hosts_and_groups_are_chosen_each_once(tmp_path: Path) -> None:
    found = read_inventory(_inventory(tmp_path, GOOD))
    assert [host.name for host in found.choose([])] == ["greenhouse", "shed", "attic"]
    assert [host.name for host in found.choose(["shed", "outdoor"])] == ["shed", "greenhouse"]
    assert found.hosts["attic"] == Host("attic", "attic.local", "me")
    assert found.hosts["greenhouse"].host_key == "ssh-ed25519 AAAAC3Nz"
    with pytest.raises(InputError, match="no host or group has the name 'indoor'"):
        found.choose(["indoor"])


@pytest.mark.provokes("deploy.bad-inventory")
@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "hosts.yml"), ("{", "hosts.yml"), ("hosts: []", "hosts.yml"), ("hosts: {}", "hosts"),
        ("hosts: {a: {port: 70000}}", "hosts.a.port"), ("hosts: {a: {prot: 1}}", "hosts.a.prot"),
        ("hosts: {a: -oX=y}", "hosts.a"), ("hosts: {a: {user: -x}}", "hosts.a.user"),
        ("hosts: {a: {host_key: abc}}", "hosts.a.host_key"), ("hosts: {all: x}", "hosts.all"),
        ("hosts: {a: }\ngroups: {g: [b]}", "groups.g"), ("hosts: {a: }\ngroups: [a]", "groups"),
        ("hosts: {a: }\nhost: {}", "host"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_inventory_has_its_place(
    tmp_path: Path, text: str, place: str
) -> None:
    with pytest.raises(PiimageError) as caught:
        read_inventory(_inventory(tmp_path, text))
    assert caught.value.code == "deploy.bad-inventory"
    assert place in str(caught.value)


GUIDE = Path(__file__).parents[3] / "docs" / "deploy.md"
KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIIf28zgCxMFQAAteRedlUZTydCxSlcegi76+cp8HY90y"


def test_the_guides_inventory_and_appliances_are_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/id_ed25519.pub").write_text(f"ssh-ed25519 {KEY} me\n")
    appliance, key, inventory = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), re.S)
    (tmp_path / "greenhouse.yml").write_text(appliance)
    assert load_all([tmp_path / "greenhouse.yml"]).hostname == "greenhouse"
    (tmp_path / "key.yml").write_text(key)
    assert load_all([tmp_path / "key.yml"]).ssh.host_key == str(tmp_path / "secrets/greenhouse")
    found = read_inventory(_inventory(tmp_path, inventory))
    assert [host.name for host in found.choose(["outdoor"])] == ["greenhouse", "shed"]
