"""The bridge: addresses, names and rules, made when the image is built."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Interface, IPv4Network

import pytest

from piimage.config.container import ContainerConfig
from piimage.container.bridge import (
    ANY_PORT,
    Attachment,
    addresses,
    attachments,
    files,
    forwards,
    hook,
)
from piimage.container.spec import runtime_spec
from piimage.errors import InputError
from tests.unit.container.specs import IDS, MAPPING, container, spec

RANGE = IPv4Network("10.213.0.0/20")
SMALL = IPv4Network("192.168.77.0/24")


def attached(**containers: dict[str, object]) -> list[Attachment]:
    configs = {name: ContainerConfig.model_validate(f) for name, f in containers.items()}
    return list(attachments(configs, RANGE).values())


def rules(*, routes: bool = False, **containers: dict[str, object]) -> list[str]:
    text = files(attached(**containers), RANGE, routes=routes)["rules"].decode()
    return [line.strip() for line in text.splitlines()]


WEB: dict[str, object] = {
    "net": "bridge",
    "ports": ["8080:80", "127.0.0.1:81:80", "192.168.1.5:53:5353/udp"],
}


def test_an_address_depends_on_the_name_alone() -> None:
    few, many = addresses(["web", "db"], RANGE), addresses(["a", "web", "x", "db", "z"], RANGE)
    assert {name: many[name] for name in few} == few
    assert len({*many.values()}) == 5
    assert all(address in RANGE for address in many.values())


def test_no_container_has_the_address_of_another_the_pi_or_the_network() -> None:
    names = [f"c{number}" for number in range(253)]
    found = addresses(names, SMALL)
    assert {*found.values()} == {*SMALL.hosts()} - {SMALL[1]}


@pytest.mark.provokes("oci.ports")
def test_more_containers_than_addresses_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        addresses([f"c{number}" for number in range(254)], SMALL)
    assert caught.value.message == "the bridge has 253 addresses for 254 containers"


def test_only_containers_on_the_bridge_have_an_address() -> None:
    found = attached(a={"net": "bridge"}, b={"net": "host"}, c={"net": "new"}, d={}, e={"net":
        "internal"})  # fmt: skip
    assert [(each.name, each.internal) for each in found] == [("a", False), ("e", True)]
    assert files([], RANGE, routes=False) == {}


def test_each_container_knows_the_others_by_their_names() -> None:
    found = attached(web=WEB, db={"net": "internal"})
    names = files(found, RANGE, routes=False)["hosts"].decode().splitlines()
    place = {each.name: each.address for each in found}
    assert names == [
        "127.0.0.1 localhost", "::1 localhost", f"{place['db']} db", f"{place['web']} web",
    ]  # fmt: skip
    assert files(found, RANGE, routes=False)["bridge"] == b"ADDRESS='10.213.0.1/20'\n"


def test_the_rules_replace_the_whole_table_at_once() -> None:
    assert rules(web=WEB)[:3] == [
        "table inet piimage", "delete table inet piimage", "table inet piimage {",
    ]  # fmt: skip


def chain(lines: list[str], name: str) -> list[str]:
    """The rules of a chain, without its first line."""
    start = lines.index(f"chain {name} {{")
    return lines[start + 2 : lines.index("}", start)]


def test_a_published_port_leads_to_the_container() -> None:
    address = attached(web=WEB)[0].address
    lines = rules(web=WEB)
    everywhere = [
        f"meta nfproto ipv4 fib daddr type local tcp dport 8080 dnat ip to {address}:80",
        f"meta nfproto ipv4 ip daddr 192.168.1.5 udp dport 53 dnat ip to {address}:5353",
    ]
    assert chain(lines, "prerouting") == everywhere
    local = f"meta nfproto ipv4 ip daddr 127.0.0.1 tcp dport 81 dnat ip to {address}:80"
    assert chain(lines, "output") == [everywhere[0], local, everywhere[1]]


def test_a_port_of_127_0_0_1_is_not_for_packets_of_neighbours() -> None:
    lines = rules(web={"net": "bridge", "ports": ["127.0.0.1:81:80"]})
    assert chain(lines, "prerouting") == []
    assert len(chain(lines, "output")) == 1


def test_a_container_reaches_nothing_of_the_pi_itself() -> None:
    assert chain(rules(web=WEB), "input") == [
        'iifname "piimage0" ct state established,related accept',
        'iifname "piimage0" drop',
    ]


def test_only_published_ports_are_reached_and_only_the_bridge_is_forwarded() -> None:
    lines = chain(rules(web=WEB), "forward")
    assert lines[2:] == [
        'iifname "piimage0" ip saddr 10.213.0.0/20 accept',
        'oifname "piimage0" ct status dnat accept',
        'iifname "piimage0" drop',
        'oifname "piimage0" drop',
        "meta nfproto ipv4 drop",
    ]


def test_a_file_that_makes_the_pi_a_router_keeps_it_one() -> None:
    assert "meta nfproto ipv4 drop" not in rules(web=WEB, routes=True)
    for key in ("net.ipv4.ip_forward", "net/ipv4/ip_forward", "net.ipv4.conf.all.forwarding"):
        assert forwards({key: "1"})
        assert not forwards({key: "0"})
    assert not forwards({"net.ipv6.conf.all.forwarding": "1"})


def test_an_internal_container_does_not_leave_the_pi() -> None:
    found = {each.name: each.address for each in attached(db={"net": "internal"}, web=WEB)}
    lines = chain(rules(db={"net": "internal"}, web=WEB), "forward")
    drop = f'iifname "piimage0" oifname != "piimage0" ip saddr {{ {found["db"]} }} drop'
    assert lines.index(drop) < lines.index('iifname "piimage0" ip saddr 10.213.0.0/20 accept')


def test_a_container_may_listen_on_every_port_of_its_own_network() -> None:
    assert spec(net="bridge")["linux"]["sysctl"] == ANY_PORT
    assert spec(net="internal", sysctl={"net.core.somaxconn": "9"})["linux"]["sysctl"] == {
        **ANY_PORT, "net.core.somaxconn": "9",
    }  # fmt: skip
    assert "sysctl" not in spec(net="new")["linux"]
    own = {"net.ipv4.ip_unprivileged_port_start": "1024"}
    assert spec(net="bridge", sysctl=own)["linux"]["sysctl"] == own


def test_a_container_on_the_bridge_has_a_network_and_is_connected_by_the_runtime() -> None:
    made = runtime_spec(replace(container(net="bridge"), address="10.213.5.9/20"), IDS)
    assert {"type": "network"} in made["linux"]["namespaces"]
    assert made["hooks"]["createRuntime"] == [hook(IPv4Interface("10.213.5.9/20"))]
    assert "createRuntime" not in spec(net="new")["hooks"]
    mapped = container(net="bridge", uidMappings=MAPPING, gidMappings=MAPPING)
    made = runtime_spec(replace(mapped, address="10.213.5.9/20"), IDS)
    assert {*made["hooks"]} == {"createRuntime"}
    # sysfs is the container's own, as its network is.
    assert {"sysfs"} == {m["type"] for m in made["mounts"] if m["destination"] == "/sys"}


def test_the_hook_has_what_the_pi_needs_and_computes_nothing_there() -> None:
    made = hook(IPv4Interface("10.213.5.9/20"))
    words = ["veth0509", "10.213.5.9/20", "10.213.0.1", "02:70:0a:d5:05:09"]
    assert made == {"path": "/usr/lib/piimage/bridge", "args": ["bridge", "attach", *words]}
