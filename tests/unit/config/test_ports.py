"""Published ports as the file spells them."""

from __future__ import annotations

from pathlib import Path

import pytest

from piimage.config.container import ContainerConfig
from piimage.config.load import load
from piimage.config.ports import published_port
from piimage.errors import PiimageError


@pytest.mark.parametrize(
    ("text", "address", "outer", "inner", "protocol"),
    [
        ("8080:80", "None", 8080, 80, "tcp"),
        ("0.0.0.0:8080:80/tcp", "None", 8080, 80, "tcp"),
        ("127.0.0.1:1:65535", "127.0.0.1", 1, 65535, "tcp"),
        ("192.168.1.5:53:5353/udp", "192.168.1.5", 53, 5353, "udp"),
    ],
)
def test_the_forms_of_a_published_port(
    text: str, address: str, outer: int, inner: int, protocol: str
) -> None:
    port = published_port(text)
    assert (str(port.address), port.outer, port.inner, port.protocol) == (
        address, outer, inner, protocol,
    )  # fmt: skip
    assert port.local == text.startswith("127.")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("80", "'80' does not publish a port; instead: [ADDRESS:]PORT:CONTAINER_PORT[/udp]"),
        ("8000-8010:80", "does not publish a port"),
        ("0:80", "has no valid port; instead: ports from 1 to 65535"),
        ("80:65536", "has no valid port"),
        ("80:80/sctp", "has an unknown protocol; instead: /tcp or /udp"),
        ("[::1]:80:80", "has no valid address: [::1]; instead: a published port is on an IPv4"),
        ("localhost:80:80", "has no valid address: localhost"),
        ("224.0.0.1:80:80", "has no valid address: 224.0.0.1"),
        ("255.255.255.255:80:80", "has no valid address"),
    ],
)
def test_it_is_refused_with_the_reason(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "a.yml"
    entry = f"{{name: a, image: x, net: bridge, ports: ['{text}']}}"
    file.write_text(f"board: pi4\nservices: [{entry}]\n")
    with pytest.raises(PiimageError) as caught:
        load([file])
    assert message in str(caught.value)


def test_a_port_without_quotes_is_the_text_that_it_looks_like(tmp_path: Path) -> None:
    # YAML 1.1 reads 2222:22 as a number to the base of 60.
    file = tmp_path / "a.yml"
    file.write_text("board: pi4\nservices: [{name: a, image: x, net: bridge, ports: [2222:22]}]\n")
    assert load([file]).services[0].ports == ("2222:22",)


@pytest.mark.parametrize(
    ("first", "second", "overlap"),
    [
        ("80:1", "80:2", True),
        ("80:1", "127.0.0.1:80:2", True),
        ("192.168.1.5:80:1", "192.168.1.5:80:2", True),
        ("192.168.1.5:80:1", "127.0.0.1:80:2", False),
        ("80:1", "80:1/udp", False),
        ("80:1", "81:1", False),
    ],
)
def test_ports_overlap_if_a_connection_could_be_meant_for_both(
    first: str, second: str, overlap: bool
) -> None:
    assert published_port(first).overlaps(published_port(second)) == overlap
    assert published_port(second).overlaps(published_port(first)) == overlap


@pytest.mark.parametrize("net", ["bridge", "internal", "host", "none", "new", "/run/netns/x"])
def test_the_networks_of_a_container(net: str) -> None:
    assert ContainerConfig.model_validate({"net": net}).net == net


@pytest.mark.parametrize("userns", ["auto", "host", "new", "/run/userns/x"])
def test_the_user_namespaces_of_a_container(userns: str) -> None:
    assert ContainerConfig.model_validate({"userns": userns}).userns == userns


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("net: bridged", "is not a valid network; instead: host, bridge, internal, none, new"),
        ("net: auto", "'auto' is not a valid network"),
        ("ipc: bridge", "'bridge' is not a valid namespace"),
        ("userns: automatic", "is not a valid namespace; instead: auto, host, new"),
    ],
)
def test_other_namespaces_are_refused(tmp_path: Path, fields: str, message: str) -> None:
    file = tmp_path / "a.yml"
    file.write_text(f"board: pi4\nservices: [{{name: a, image: x, {fields}}}]\n")
    with pytest.raises(PiimageError) as caught:
        load([file])
    assert message in str(caught.value)
