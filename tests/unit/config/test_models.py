"""The file as a model: defaults, sections, container folders, and what piimage ships."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from piimage import resources
from piimage.boards import board_names
from piimage.config.load import load, load_all, load_folder, load_system
from piimage.config.models import Appliance
from piimage.config.reference import folder_reference, json_schema, yaml_reference
from piimage.config.starting import Starting, starting_file
from piimage.run import word

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples").glob("*.yml"))
FOLDERS = sorted(file.parent for file in resources.path("services").glob("*/service.yml"))
LAYERS = sorted((ROOT / "appliance" / "system").glob("*.yml"))

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIf28zgCxMFQAAteRedlUZTydCxSlcegi76+cp8HY90y me@home\n"
CONTENT = {".pub": KEY, ".psk": "correct horse\n"}
DESIGN = """
board: pi4
hostname: greenhouse
ssh: { authorized_keys: [key.pub] }
network: { wifi: { ssid: shed, psk_file: shed.psk }, country: JP }
boot:
  config: { enable_uart: 1, dtparam: [audio=off, i2c_arm=on] }
  overlays: [i2c1, spi0]
  cmdline: [quiet]
modules:
  - i2c-dev
  - build: module
    params: { chip_addr: 0x77, quick: true }
onboot:
  - { name: dhcp, use: dhcp, required: true, timeout: 30s }
services:
  - { name: sshd, use: sshd }
  - name: bmp280
    build: service
    devices: [/dev/i2c-1]
    env: [BMP280_ADDRESS=0x77, MQTT_HOST=broker.local]
    health: { http: "http://127.0.0.1:9280/healthz", every: 10s }
    restart: { policy: always, backoff: 1s..60s }
    after: [sshd]
  - { name: net, packages: [iproute2], entrypoint: [ip], command: [link], binds: ["shared:/a"] }
volumes: [{ name: shared }]
data: { size: rest, mount: /data }
files: [ { path: etc/motd, contents: "hello\\n" }, { path: etc/x, directory: true } ]
sysctl: { net.ipv4.ip_forward: 1 }
test: { checks: [ { run: uname -a, expect: Linux }, { http: "http://127.0.0.1:9280/" } ] }
"""


@pytest.fixture
def design(tmp_path: Path) -> Path:
    for name in ("key.pub", "shed.psk", "service/Dockerfile", "module/module.yml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(CONTENT.get(name[-4:], ""))
    file = tmp_path / "a.yml"
    file.write_text(DESIGN)
    return file


def test_the_design_s_example_is_read(design: Path) -> None:
    appliance = load([design])
    assert (appliance.board, appliance.hostname) == ("pi4", "greenhouse")
    assert appliance.network
    assert appliance.network.wifi
    assert appliance.network.wifi.psk_file == str(design.parent / "shed.psk")
    assert appliance.boot.config == {"enable_uart": ("1",), "dtparam": ("audio=off", "i2c_arm=on")}
    assert [(module.name, dict(module.params)) for module in appliance.modules] == [
        ("i2c-dev", {}),
        (None, {"chip_addr": "0x77", "quick": "true"}),
    ]
    assert appliance.onboot[0].folder == resources.path("services") / "dhcp"
    assert (appliance.onboot[0].required, appliance.onboot[0].timeout) == (True, 30)
    assert [entry.name for entry in appliance.services] == ["sshd", "bmp280", "net", "wifi"]
    assert appliance.services[1].folder == design.parent / "service"
    assert appliance.data.size == "rest"
    assert [file.permissions for file in appliance.files] == [0o600, 0o700]
    assert appliance.sysctl == {"net.ipv4.ip_forward": "1"}
    assert appliance.test
    assert appliance.test.checks[0].run == ("sh", "-c", "uname -a")


def test_models_are_immutable(design: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load([design]).hostname = "b"  # type: ignore[misc]


def test_an_empty_file_has_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("")
    appliance = load([tmp_path / "a.yml"])
    assert appliance == Appliance()
    assert (appliance.board, appliance.hostname, appliance.timezone) == (
        "qemu-virt",
        "piimage",
        "UTC",
    )
    assert (appliance.log.size, appliance.log.count, appliance.log.console) == (262144, 4, False)
    assert (appliance.data.mount, appliance.slots.size, appliance.network) == ("/data", None, None)


@functools.cache
def validator() -> Validator:
    """Return a validator of the schema; to import the library takes more than a second."""
    import jsonschema

    return jsonschema.Draft202012Validator(json_schema())


@pytest.mark.slow
def test_the_schema_is_valid_and_takes_the_design_s_example() -> None:
    validator().check_schema(json_schema())
    validator().validate(yaml.safe_load(DESIGN))


@pytest.mark.parametrize("text", ["bord: pi4", "services: [{}]", "services: [{name: a, net: 1}]"])
def test_the_schema_refuses_what_is_wrong(text: str) -> None:
    assert not validator().is_valid(yaml.safe_load(text))


@pytest.mark.parametrize("size", ["rest", "2G", 1 << 30])
def test_the_schema_takes_every_form_of_a_size(size: object) -> None:
    validator().validate({"data": {"size": size}})


def test_every_key_has_a_description() -> None:
    parts = [json_schema(), *json_schema()["$defs"].values()]
    wholes = [
        whole for part in parts for whole in part.get("anyOf", (part,)) if "properties" in whole
    ]
    assert len(wholes) > 25
    lacking = [
        (whole["description"], key)
        for whole in wholes
        for key, field in whole["properties"].items()
        if not field.get("description")
    ]
    assert lacking == []


def test_the_reference_in_docs_is_what_the_models_say() -> None:
    """If not: make docs."""
    folder = ROOT / "docs" / "reference"
    assert (folder / "piimage.schema.json").read_text() == json.dumps(
        json_schema(), indent=2
    ) + "\n"
    assert (folder / "yaml.md").read_text() == yaml_reference()
    assert (folder / "service-yml.md").read_text() == folder_reference()


def test_every_link_of_the_reference_leads_somewhere() -> None:
    text = yaml_reference()
    targets = {part.split(")")[0] for part in text.split("](#")[1:]}
    headings = {line[3:].lower() for line in text.splitlines() if line.startswith("## ")}
    assert targets
    assert targets <= headings


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_the_examples_are_good_and_fit_the_schema(file: Path) -> None:
    load_all([file])
    validator().validate(yaml.safe_load(file.read_text()))


def test_there_is_an_example_for_every_board() -> None:
    assert set(board_names()) <= {file.stem for file in EXAMPLES}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_folders_that_piimage_ships_are_good(folder: Path) -> None:
    service = load_folder(folder)
    assert service.name == folder.name
    assert service.container.model_fields_set >= service.config.model_fields_set


@pytest.mark.parametrize("file", LAYERS, ids=lambda file: file.stem)
def test_the_system_s_layers_are_good(file: Path) -> None:
    assert load_system(file).name == file.stem


@pytest.mark.parametrize("board", board_names())
def test_the_starting_file_is_good_for_every_board(board: str, tmp_path: Path) -> None:
    file = tmp_path / "new.yml"
    file.write_text(starting_file(Starting(board, "A board", str(file), "new", emulated=False)))
    assert load_all([file]).board == board


@pytest.mark.parametrize("name", ["my pi.yml", "a\n? b.yml", "{x}.yml"])
def test_the_starting_file_names_itself_for_a_shell(name: str, tmp_path: Path) -> None:
    text = starting_file(Starting("pi4", "A board", name, "shed"))
    (tmp_path / "a.yml").write_text(text)
    assert load_all([tmp_path / "a.yml"]).hostname == "shed"
    assert f"#   piimage build {word(name)} -o out" in text


@pytest.mark.parametrize("name", ["true", "null", "123", "no", "0x1f", "1e3", "a-b"])
def test_the_starting_file_gives_any_host_name_as_text(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(starting_file(Starting("pi4", "A board", "a.yml", name)))
    assert load_all([tmp_path / "a.yml"]).hostname == name


def test_what_the_starting_file_comments_out_is_good_as_well(tmp_path: Path) -> None:
    """Each commented key, uncommented: nobody copies an example that piimage refuses."""
    text = starting_file(Starting("pi4", "A board", "a.yml", "shed", overlay="spi0"))
    assert "dtparam: " not in text
    lines = [line for line in text.splitlines() if not line.startswith("#   piimage")]
    head, _, rest = "\n".join(lines).partition("\nboard:")
    assert head.startswith("# An appliance for A board.")
    uncommented = [
        line.replace("# ", "", 1) if line.lstrip().startswith("# ") and _is_yaml(line) else line
        for line in f"board:{rest}".splitlines()
    ]
    for name in (".ssh/id_ed25519.pub", "secrets/shed.psk", "kernel-modules/mine/module.yml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(CONTENT.get(name[-4:], ""))
    file = tmp_path / "a.yml"
    file.write_text("\n".join(uncommented).replace("~/", f"{tmp_path}/"))
    appliance = load([file])
    names = ["dhcp-renew", "ntp", "sshd", "mdns", "hello_world", "bmp280", "web", "wifi"]
    assert [entry.name for entry in appliance.services] == names
    assert appliance.network
    assert appliance.test


def _is_yaml(line: str) -> bool:
    """A commented line of YAML, unlike one of prose."""
    inner = line.lstrip()[2:]
    return inner.startswith((" ", "- ")) or inner.split(" ")[0].endswith(":")


def test_a_folder_s_health_and_restart_go_into_the_label(tmp_path: Path) -> None:
    (tmp_path / "service.yml").write_text(
        "name: a\nhealth: {tcp: 'a:1'}\nrestart: no\nuser: b\nconfig: {binds: ['/a:/b']}\n"
        "applets: {program: usr/bin/busybox, folder: usr/bin, names: sh ls}\n"
    )
    service = load_folder(tmp_path)
    assert service.container.health
    assert service.container.restart
    assert service.container.restart.policy == "no"
    assert service.container.binds == ("/a:/b",)
    assert (service.container.user, service.user) == (None, "b")
    assert service.applets
    assert service.applets.names == ("sh", "ls")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Team/Tool", "capital letters"),
        ("x:/", "'x:' is not a registry"),
        ("x@sha256:12", "'sha256:12' is not a digest"),
        ("r.example/x:", "'' is not a tag"),
    ],
)
def test_an_image_that_no_registry_could_have_is_refused_wherever_it_stands(
    name: str, message: str
) -> None:
    entry = {"name": "a", "image": name}
    for fields in ({"trust": {"image": [name]}}, {"services": [entry]}, {"init": [name]},
                 {"kernel": {"image": name}}, {"volumes": [entry]}):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            Appliance.model_validate(fields)
