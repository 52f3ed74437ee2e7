"""labgrid's environment file; the forms are those that labgrid 26 reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from piimage.deploy.hosts import Host
from piimage.errors import InputError
from piimage.testing.labgrid import read_target
from tests.examples import examples

SERVICE = "NetworkService: {address: 192.0.2.7, username: root}"


def read(folder: Path, text: str, target: str = "main", **environment: str) -> Host:
    path = folder / "lab.yaml"
    path.write_text(text)
    return read_target(path, target, environment)


def main(resources: str, drivers: str = "{}") -> str:
    return f"targets: {{main: {{resources: {resources}, drivers: {drivers}}}}}\n"


def test_resources_and_drivers_as_mappings(tmp_path: Path) -> None:
    text = main(
        "{NetworkService: {address: pi.example, username: pi, port: 2222}}",
        "{SSHDriver: {keyfile: keys/lab}}",
    )
    assert read(tmp_path, text) == Host(
        "main", "pi.example", "pi", 2222, identity=tmp_path / "keys/lab"
    )


def test_resources_as_a_list_and_the_one_that_the_driver_is_bound_to(tmp_path: Path) -> None:
    text = """targets:
  bench:
    resources:
    - RawSerialPort: {port: /dev/ttyUSB0}
    - NetworkService: {name: wired, address: 192.0.2.1, username: root}
    - cls: NetworkService
      name: wifi
      address: 192.0.2.2
      username: root
    drivers:
    - SSHDriver: {bindings: {networkservice: wifi}, username: admin}
"""
    assert read(tmp_path, text, "bench") == Host("bench", "192.0.2.2", "admin", 22)


def test_a_class_that_stands_beside_the_name_of_its_part(tmp_path: Path) -> None:
    text = main("{pi: {cls: NetworkService, address: 192.0.2.7, username: root}}")
    assert read(tmp_path, text).address == "192.0.2.7"


def test_variables_of_templates_and_paths(tmp_path: Path) -> None:
    text = main(
        "{NetworkService: {address: !template '$LG_PI', username: root}}",
        "{SSHDriver: {keyfile: !template '$BASE/key'}}",
    )
    host = read(tmp_path, text, LG_PI="pi.example", PI="other")
    assert (host.address, host.identity) == ("pi.example", tmp_path / "key")
    for keyfile, expected in (("~/lab", "/home/me/lab"), ("$KEYS/lab", "/keys/lab")):
        text = main(f"{{{SERVICE}}}", f"{{SSHDriver: {{keyfile: {keyfile}}}}}")
        found = read(tmp_path, text, HOME="/home/me", KEYS="/keys")
        assert found.identity == Path(expected)


def test_an_address_of_ipv6(tmp_path: Path) -> None:
    text = main("{NetworkService: {address: 'fe80::1%eth0', username: root}}")
    assert read(tmp_path, text).address == "fe80::1%eth0"


@pytest.mark.provokes("testing.bad-labgrid")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("targets: {", "cannot be read"),
        ("[]", "not a mapping"),
        ("targets: {other: {}}", "no target 'main'"),
        ("targets: {main: null}", "no target 'main'"),
        (main("{}"), "exactly one is needed, and there are 0"),
        (main("{RemotePlace: {name: shelf}}"), "exactly one is needed, and there are 0"),
        (main(f"[{{{SERVICE}}}, {{{SERVICE}}}]"), "exactly one is needed, and there are 2"),
        (main("[x]"), "an entry that is not a mapping"),
        (main("[{a: 1, b: 2}]"), "without the key cls"),
        (main("3"), "neither a mapping nor a list"),
        (main("{NetworkService: {address: pi}}"), "needs address and username"),
        (main("{NetworkService: {address: pi, username: root, port: '22'}}"), "needs address"),
        (main("{NetworkService: {address: -oProxy, username: root}}"), "is not a host"),
        (main(f"{{{SERVICE}}}", "{SSHDriver: {password: x}}"), "does not log in by password"),
        (main(f"{{{SERVICE}}}", "{SSHDriver: {keyfile: 3}}"), "keyfile is not a text"),
        (main("{NetworkService: {address: !template '$LG_X', username: a}}"), "'LG_X' is not set"),
    ],
)
def test_what_names_no_pi_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, text)
    assert caught.value.code == "testing.bad-labgrid"


@pytest.mark.provokes("testing.bad-labgrid")
def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_target(tmp_path / "none.yaml", "main", {})


VALUES = st.recursive(
    st.none() | st.integers() | st.text("ab$~-:%", max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("cls", "name", "NetworkService", "SSHDriver", "address", "username")),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(resources=VALUES, drivers=VALUES)
def test_any_document_is_a_host_or_an_error(
    tmp_path: Path, resources: object, drivers: object
) -> None:
    document = {"targets": {"main": {"resources": resources, "drivers": drivers}}}
    try:
        host = read(tmp_path, json.dumps(document))
    except InputError as error:
        assert error.code == "testing.bad-labgrid"
    else:
        assert host.name == "main"
