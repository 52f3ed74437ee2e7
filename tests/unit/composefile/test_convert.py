"""A whole Compose file as a file of piimage."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.cli.main import execute
from piimage.composefile.convert import convert
from piimage.composefile.gets import secret_hint
from piimage.composefile.keys import CONVERTERS
from piimage.composefile.variables import Interpolation
from piimage.composefile.variables import settings as lines_of
from piimage.config.load import load_all
from piimage.config.models import Appliance, Entry
from piimage.errors import ErrorGroup, InputError, PiimageError
from tests.examples import examples

COMPOSE = """\
version: "3.8"
x-common: &common { restart: unless-stopped }
services:
  web:
    <<: *common
    image: nginx:${NGINX:-alpine}
    ports: ["80:80", "8443:443"]
    volumes: ["./conf:/etc/nginx/conf.d:ro", "cache:/var/cache/nginx", "./none:/n"]
    env_file: web.env
    environment: { TZ: Europe/London, PRICE: "$$5", S: "$${TAG} $${OTHER}" }
    depends_on: { db: { condition: service_healthy }, tool: {} }
    healthcheck: { test: ["CMD-SHELL", "wget -q http://localhost"], interval: 1m30s, timeout: 10s }
    secrets: [s]
    cap_add: [NET_ADMIN]
  db:
    image: postgres:${TAG}
    environment: ["POSTGRES_PASSWORD=${DB_PASSWORD:?missing}"]
    volumes: ["db:/var/lib/postgresql/data"]
    command: postgres -c shared_buffers=64MB
    cap_drop: [ALL]
    networks: { back: { aliases: [database] } }
  app: { build: ./app, entrypoint: [/a], command: [b], privileged: true, network_mode: host }
  tool: { image: adminer, profiles: [debug] }
volumes: { cache: {}, db: }
networks: { back: }
secrets: { s: { file: ./s.txt } }
"""


@pytest.fixture
def compose(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    (folder / "conf").mkdir(parents=True)
    (folder / "app").mkdir()
    (folder / "conf" / "site.conf").write_text("server {}")
    (folder / "app" / "Dockerfile").write_text("FROM scratch")
    (folder / "web.env").write_text("# x\nexport A=1\nTZ=UTC\nB='two ${TAG} words'\n")
    (folder / ".env").write_text("TAG=16\n")
    (folder / "s.txt").write_text("s")
    file = folder / "compose.yml"
    file.write_text(COMPOSE)
    return file


def imported(compose: Path) -> tuple[Appliance, list[str]]:
    made = convert(compose, "pi4", compose.parent)
    target = compose.with_name("made.yml")
    target.write_text(made.text)
    remarks = [remark.removeprefix(f"{compose}:") for remark in made.remarks]
    return load_all([target], (), {"DB_PASSWORD": "pw"}), remarks


def service(appliance: Appliance, name: str) -> Entry:
    (found,) = (entry for entry in appliance.services if entry.name == name)
    return found


def test_what_is_written_is_good_and_does_the_same(compose: Path) -> None:
    appliance, _ = imported(compose)
    assert [entry.name for entry in appliance.services] == ["dhcp-renew", "web", "db", "app"]
    web, db, app = (service(appliance, name) for name in ("web", "db", "app"))
    assert (web.image, db.image) == ("nginx:alpine", "postgres:16")
    assert web.env == (
        "TZ=Europe/London", "PRICE=$5", "S=${TAG} ${OTHER}", "A=1", "B=two ${TAG} words",
    )  # fmt: skip
    assert db.env == ("POSTGRES_PASSWORD=pw",)
    assert web.after == ("db",)
    assert web.health
    assert (web.health.command, web.health.every) == (("sh", "-c", "wget -q http://localhost"), 90)
    assert web.binds == (
        "/etc/compose/web/etc-nginx-conf.d:/etc/nginx/conf.d:ro",
        "/data/volumes/cache:/var/cache/nginx",
        "/data/volumes/none:/n",
        "/etc/compose/hosts:/etc/hosts:ro",
        "/run/resolv.conf:/etc/resolv.conf:ro",
    )
    assert web.secrets == ("s",)
    assert app.folder == compose.parent / "app"
    assert app.command == ("/a", "b")
    assert web.restart
    assert db.restart
    assert (web.restart.policy, db.restart.policy) == ("always", "no")


def test_docker_s_own_capabilities_are_given_and_taken_as_the_file_says(compose: Path) -> None:
    appliance, _ = imported(compose)
    # docs.docker.com, "Runtime privilege and Linux capabilities".
    given = [
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_FSETID",
        "CAP_KILL",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SETPCAP",
        "CAP_NET_BIND_SERVICE",
        "CAP_NET_RAW",
        "CAP_SYS_CHROOT",
        "CAP_MKNOD",
        "CAP_AUDIT_WRITE",
        "CAP_SETFCAP",
    ]
    assert service(appliance, "web").capabilities == (*given, "CAP_NET_ADMIN")
    assert service(appliance, "db").capabilities == ()
    assert service(appliance, "app").capabilities == ("all",)
    for name in ("web", "db", "app"):
        found = service(appliance, name)
        assert (found.no_new_privileges, found.readonly) == (False, False)


def test_services_reach_one_another_by_their_names(compose: Path) -> None:
    appliance, _ = imported(compose)
    files = {file.path: file for file in appliance.files}
    hosts = "127.0.0.1 localhost app database db web\n::1 localhost\n"
    assert files["etc/compose/hosts"].contents == hosts
    conf = files["etc/compose/web/etc-nginx-conf.d/site.conf"]
    assert conf.source == str(compose.parent / "conf" / "site.conf")


def test_what_changes_is_reported_with_its_place(compose: Path) -> None:
    _, remarks = imported(compose)
    assert remarks == [
        "7:5: web: ports: a service uses the host's network and answers at its port 443, "
        "not at 8443",
        "8:5: web: volumes: ./none becomes /data/volumes/none on the Pi, empty at first",
        "19:5: db: command: also replaces the image's ENTRYPOINT; if the image has one, write it "
        "in front",
        "23:27: tool: left out, because it runs only with a profile",
        "11:5: web: does not wait for tool, which is left out",
        "13:5: web: secrets: s: not in this file; its value: piimage flash … --secret s=./s.txt, "
        "or piimage secret set HOST s",
        f"{compose.parent}/.env: the values of TAG are now defaults",
    ]
    head = compose.with_name("made.yml").read_text().partition("\nboard:")[0]
    for remark in remarks:
        assert f"#   {remark}\n" in head


def test_the_value_of_a_secret_is_in_no_file_that_is_made(tmp_path: Path) -> None:
    file = tmp_path / "compose.yml"
    file.write_text(
        "services: { a: { image: x, secrets: [s, { source: key.pem, target: /etc/key.pem },"
        " { source: s, target: other }] } }\n"
        "secrets: { s: { file: s.txt }, key.pem: { external: true } }\n"
        "configs: { c: { content: plain } }\n"
    )
    (tmp_path / "s.txt").write_text("beans")
    appliance, remarks = imported(file)
    assert service(appliance, "a").secrets == ("s", "key-pem", "other")
    assert [config.path for config in appliance.files] == [
        "etc/compose/configs/c", "etc/compose/hosts",
    ]  # fmt: skip
    assert [remark.partition(": ")[2] for remark in remarks] == [
        "a: secrets: key.pem: a file /run/secrets/key-pem, not /etc/key.pem",
        "a: secrets: s: its name is other here",
        *(
            f"a: secrets: {name}: not in this file; {secret_hint(name, value)}"
            for name, value in (("s", "s.txt"), ("key-pem", "FILE"), ("other", "s.txt"))
        ),
    ]


def test_paths_start_at_the_file_that_is_made(compose: Path) -> None:
    (compose.parent / "out").mkdir()
    made = convert(compose, "pi4", compose.parent / "out")
    data = yaml.safe_load(made.text)
    assert [entry["build"] for entry in data["services"] if "build" in entry] == ["../app"]
    assert "../conf/site.conf" in [file.get("source") for file in data["files"]]


def test_the_verb_writes_beside_it_and_never_over_a_file(
    compose: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = compose.with_name("shop.yml")
    assert execute(["import", str(compose), "-b", "pi4"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{target}: written; next: piimage check {target}\n"
    assert err.count("warning: ") == 7
    assert execute(["check", str(target), "--set", "DB_PASSWORD=x"]) == 0
    assert execute(["import", str(compose), "-b", "pi4"]) == 2
    other = compose.parent / "pi5.yml"
    assert execute(["import", str(compose), "-b", "pi5", "-o", str(other)]) == 0
    assert yaml.safe_load(other.read_text())["board"] == "pi5"


@pytest.mark.provokes("config.compose")
def test_check_recognises_a_whole_compose_file(compose: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_all([compose])
    assert (caught.value.code, caught.value.place) == ("config.compose", f"{compose}:3:1")
    assert caught.value.hint == f"convert it with `piimage import {compose}`"


@pytest.mark.provokes("import.not-compose")
@pytest.mark.parametrize("text", ["services: [{name: a, image: x}]", "a: 1", "services: {a: }"])
def test_another_file_is_no_compose_file(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(text)
    with pytest.raises(InputError) as caught:
        convert(tmp_path / "a.yml", "pi4", tmp_path)
    assert caught.value.code == "import.not-compose"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        convert(tmp_path / "none.yml", "pi4", tmp_path)
    assert caught.value.code == "config.unreadable"


@pytest.mark.provokes("config.too-large")
def test_a_file_of_a_terabyte_is_not_read_to_its_end(tmp_path: Path) -> None:
    file = tmp_path / "compose.yml"
    with file.open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(InputError) as caught:
        convert(file, "pi4", tmp_path)
    assert caught.value.code == "config.too-large"


@pytest.mark.parametrize(
    ("written", "meant", "names"),
    [
        ("$A", "${A}", {"A"}), ("${A}", "${A}", {"A"}), ("${A:-b}", "${A:-b}", {"A"}),
        ("${A-b}", "${A:-b}", {"A"}), ("${A:-}", "${A:-}", {"A"}), ("${A:?no}", "${A}", {"A"}),
        ("$$A", "$A", set()), ("$${A} ${A}", "$${A} ${A}", {"A"}), ("$${B}", "${B}", set()),
        ("${SET}", "${SET:-x}", {"SET"}), ("${SET:+y}${A:+y}", "y", set()), ("a$", "a$", set()),
        ("${A", "${A", set()), ("${A:-${B:-c}}", "${A:-c}", {"A"}),
        ("${A:-${B:-${SET}}}/d", "${A:-x}/d", {"A"}), ("${A:-$${b}}", "${A:-${b}}", {"A"}),
    ],
)  # fmt: skip
def test_variables_are_rewritten(written: str, meant: str, names: set[str]) -> None:
    variables = Interpolation({"SET": "x"})
    assert variables.finished(variables.rewritten(written)) == meant
    assert variables.names == names


FIELD = """\
services:
  a: { image: x, command: "it's broken", sysctls: { net.ipv4.ip_forward: 1, kernel.shmmax: 2 } }
  b:
  c: { image: "x:${X_TAG:-${X_MAJOR:-7}}" }
volumes: [cache]
secrets: [{ file: s.txt }]
configs: { c: { file: [c.txt] } }
"""


def test_what_people_write_is_carried_over_or_reported(tmp_path: Path) -> None:
    file = tmp_path / "compose.yml"
    file.write_text(FIELD)
    appliance, remarks = imported(file)
    assert service(appliance, "c").image == "x:7"
    assert appliance.sysctl == {"net.ipv4.ip_forward": "1"}  # the network is the Pi's
    assert service(appliance, "a").sysctl == {"kernel.shmmax": "2"}
    for wanted in (
        "2:18: a: command: its value is not understood",
        "2:42: a: sysctls: net.ipv4.ip_forward applies to the whole Pi, because services share "
        "its network",
        "3:3: b: left out, because it is empty",
        "5:1: volumes: its value is not understood",
        "6:1: secrets: its value is not understood",
        "7:12: configs: c is not defined in this file; add its content to files:",
        " X_MAJOR: replaced by its value inside another variable's default",
    ):
        assert wanted in remarks


def test_lines_of_a_file_of_variables() -> None:
    text = "# c\n\nA=1\nexport B=\"x\\ny\"\nC='a # b'\nD=a # b\nE=\nbad\n F = g \n"
    assert lines_of(text) == {
        "A": "1", "B": "x\ny", "C": "a # b", "D": "a", "E": "", "F": "g",
    }  # fmt: skip


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 9) | st.text(max_size=6)
    | st.sampled_from(["80:80", "./x:/y", "/dev/a:/b", "1m", "${A:-b}", "CMD", "ALL", "~/x:/y"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.text(max_size=4) | st.sampled_from(["test", "source", "target", "limits", "file"]),
        inner, max_size=3,
    ),
    max_leaves=6,
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=examples(150), deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(CONVERTERS)), VALUES, min_size=1, max_size=5))
def test_any_service_is_carried_over_or_refused(
    tmp_path_factory: pytest.TempPathFactory, words: dict[str, object]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    file = folder / "compose.yml"
    file.write_text(yaml.safe_dump({"services": {"a": {"image": "x", **words}}}))
    try:
        made = convert(file, "pi4", folder)
        (folder / "made.yml").write_text(made.text)
        load_all([folder / "made.yml"])
    except PiimageError as error:
        for fault in error.errors if isinstance(error, ErrorGroup) else (error,):
            assert fault.place
