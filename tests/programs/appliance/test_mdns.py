"""What the ready-made mdns announces, by its script; avahi itself is in tests/system."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from piimage import resources
from tests.programs.appliance.scripts import Pi

# proc_net_tcp.rst: 0016 is 22, 2440 is 9280, 1F90 is 8080; 0A listens, 01 is a connection.
TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0
   1: 0100007F:1F90 0200007F:D431 01 00000000:00000000 00:00000000 00000000     0
"""
TCP6 = """\
  sl  local_address                         remote_address                        st
   0: 00000000000000000000000000000000:2440 00000000000000000000000000000000:0000 0A 0
"""


class Mdns:
    """The script's functions, with the Pi's paths led into a folder."""

    def __init__(self, folder: Path) -> None:
        self.pi = Pi(folder)
        text = (resources.path("services") / "mdns/mdns.sh").read_text()
        functions, call, _ = text.partition("\nmain\n")
        assert call
        for path in (
            "/tmp/", "/etc/avahi/services", "/run/piimage", "/proc/", "/dev/console", "/data/",
        ):  # fmt: skip
            functions = functions.replace(path, f"{folder}{path}")
        self.script = self.pi.write("functions.sh", functions)
        self.services = self.pi.path("etc/avahi/services/x").parent
        self.pi.path("tmp/x")
        self.pi.path("dev/console")
        self.kept_name = self.pi.path("data/mdns/name")
        self.pi.write("proc/sys/kernel/hostname", "greenhouse.example\n")
        self.pi.write("proc/net/tcp", TCP)
        self.pi.write("proc/net/tcp6", TCP6)
        self.pi.write("run/piimage/boot", "SELECTOR='1'\nBOARD='pi4'\nPIIMAGE_SLOT='/s'\n")
        self.pi.path("run/piimage/containers").symlink_to("layers/" + "0123456789abcdef" * 4)

    def service(self, name: str, state: str, health: str | None) -> None:
        self.pi.write(f"run/piimage/services/{name}/state", f"{state}\n")
        file = self.pi.path(f"run/piimage/health/{name}")
        file.unlink(missing_ok=True)
        if health is not None:
            file.write_text(f"{health}\n")

    def run(self, script: str, **variables: str) -> str:
        words = " ".join(f"{key}='{text}'" for key, text in variables.items())
        return self.pi.sh(f"export {words} _=; . {self.script}; {script}")

    def announced(self, file: str = "pi") -> dict[str, tuple[str, list[str]]]:
        """Port and texts of each announced type."""
        root = ElementTree.fromstring((self.services / f"{file}.service").read_text())
        assert root.tag == "service-group"
        return {
            str(service.findtext("type")): (
                str(service.findtext("port")),
                [str(record.text) for record in service.findall("txt-record")],
            )
            for service in root.findall("service")
        }


@pytest.fixture
def mdns(tmp_path: Path) -> Mdns:
    return Mdns(tmp_path)


def test_it_announces_board_version_and_health_and_ssh_while_that_listens(mdns: Mdns) -> None:
    mdns.service("web", "running", "healthy")
    mdns.run("look")
    texts = ["board=pi4", "version=0123456789ab", "health=healthy"]
    assert mdns.announced() == {"_ssh._tcp": ("22", []), "_piimage._tcp": ("22", texts)}
    mdns.pi.write("proc/net/tcp", TCP.replace(":0016", ":0017"))
    mdns.run("look")
    assert mdns.announced() == {"_piimage._tcp": ("22", texts)}


def test_a_system_that_does_not_tell_its_board_is_announced_too(mdns: Mdns) -> None:
    """A deploy brings this container to a Pi whose system is older."""
    (mdns.pi.root / "run/piimage/boot").unlink()
    mdns.run("look 2>&1")
    assert mdns.announced()["_piimage._tcp"][1][0] == "board=unknown"


@pytest.mark.parametrize(
    ("services", "texts"),
    [
        ({}, ["health=healthy"]),
        ({"a": ("running", "running"), "b": ("stopped", None)}, ["health=healthy"]),
        ({"a": ("exited", None)}, ["health=healthy"]),
        ({"a": ("running", "healthy"), "b": ("running", "starting")}, ["health=starting"]),
        ({"a": ("waiting", None)}, ["health=starting"]),
        ({"a": ("back-off", "starting"), "b": ("running", "starting")},
         ["health=unhealthy", "failing=a"]),
        ({"a": ("running", "unhealthy"), "b": ("back-off", None)},
         ["health=unhealthy", "failing=a,b"]),
    ],
)  # fmt: skip
def test_it_is_as_healthy_as_the_worst_service(
    mdns: Mdns, services: dict[str, tuple[str, str | None]], texts: list[str]
) -> None:
    for name, (state, health) in services.items():
        mdns.service(name, state, health)
    mdns.run("look")
    assert mdns.announced()["_piimage._tcp"][1][2:] == texts


def test_what_did_not_change_is_not_announced_again(mdns: Mdns) -> None:
    mdns.service("web", "running", "healthy")
    mdns.run("look")
    file = mdns.services / "pi.service"
    before = file.stat().st_ino
    mdns.run("look; look")
    assert file.stat().st_ino == before
    mdns.service("web", "running", "unhealthy")
    mdns.run("look")
    assert "failing=web" in file.read_text()


def test_a_page_is_announced_while_its_port_is_open(mdns: Mdns) -> None:
    pages = {"MDNS_PAGES": "bmp280=9280 shop=8080/start"}
    mdns.run("check_pages && look", **pages)
    assert mdns.announced("page-bmp280") == {"_http._tcp": ("9280", ["path=/"])}
    assert sorted(path.name for path in mdns.services.iterdir()) == [
        "page-bmp280.service", "pi.service",
    ]  # fmt: skip
    mdns.pi.write("proc/net/tcp6", TCP6.replace(":2440", ":1F90"))
    mdns.run("look", **pages)
    assert mdns.announced("page-shop") == {"_http._tcp": ("8080", ["path=/start"])}
    assert not (mdns.services / "page-bmp280.service").exists()


@pytest.mark.parametrize(
    "page",
    ["shop", "shop=", "shop=0", "shop=80x", "shop=800000", "=80", "../x=80", "a/b=80", "a=b=80",
     "a=80/<b>", "a=80/&", "a=80/x=1"],
)  # fmt: skip
def test_a_page_that_is_none_ends_the_container_with_its_name(mdns: Mdns, page: str) -> None:
    output = mdns.run("check_pages 2>&1 || echo refused", MDNS_PAGES=f"good=80 {page}")
    assert output == f"mdns: MDNS_PAGES: {page} is not NAME=PORT or NAME=PORT/PATH\nrefused\n"


def test_the_console_shows_the_name_that_it_got(mdns: Mdns) -> None:
    """The lines of avahi-daemon 0.8, of two hosts of one name."""
    log = mdns.pi.write(
        "log",
        "avahi-daemon 0.8 starting up.\n"
        "Joining mDNS multicast group on interface eth0.IPv4 with address 10.0.0.2.\n"
        "Host name conflict, retrying with greenhouse-2\n"
        "Server startup complete. Host name is greenhouse-2.local. Local service cookie is 954.\n",
    )
    shown = mdns.run(f"watch_name <{log}").splitlines()
    assert mdns.pi.console() == [
        "piimage: mdns: another host is greenhouse.local: THIS PI ANSWERS TO greenhouse-2.local"
    ]
    assert shown == [
        "avahi-daemon 0.8 starting up.",
        "Host name conflict, retrying with greenhouse-2",
        "another host is greenhouse.local: THIS PI ANSWERS TO greenhouse-2.local",
    ]
    log.write_text("Server startup complete. Host name is greenhouse.local. Local service …\n")
    mdns.run(f"watch_name <{log}")
    assert mdns.pi.console() == ["piimage: mdns: this Pi answers to greenhouse.local"]


STARTED = "Server startup complete. Host name is {}.local. Local service cookie is 954.\n"


def restarted(mdns: Mdns, name: str) -> list[str]:
    """Start again, with a network that leaves avahi the name; the lines of its configuration."""
    log = mdns.pi.write("log", STARTED.format(name))
    mdns.run(f"read_names; write_configuration; watch_name <{log}")
    return (mdns.pi.root / "tmp/avahi-daemon.conf").read_text().splitlines()


def test_the_name_of_a_conflict_is_kept_over_a_restart(mdns: Mdns) -> None:
    assert "host-name=greenhouse-2" not in restarted(mdns, "greenhouse-2")
    assert "host-name=greenhouse-2" in restarted(mdns, "greenhouse-2")
    assert mdns.pi.console() == [
        "piimage: mdns: another host was greenhouse.local: THIS PI KEEPS THE NAME "
        "greenhouse-2.local"
    ]
    mdns.run("look")
    assert "wanted=greenhouse" in mdns.announced()["_piimage._tcp"][1]


def test_a_kept_name_that_another_host_has_too_is_replaced(mdns: Mdns) -> None:
    restarted(mdns, "greenhouse-2")
    restarted(mdns, "greenhouse-3")
    assert mdns.pi.console() == [
        "piimage: mdns: another host is greenhouse.local: THIS PI ANSWERS TO greenhouse-3.local"
    ]
    assert "host-name=greenhouse-3" in restarted(mdns, "greenhouse-3")


def test_a_pi_that_gets_a_name_of_its_own_forgets_the_kept_one(mdns: Mdns) -> None:
    restarted(mdns, "greenhouse-2")
    mdns.pi.write("proc/sys/kernel/hostname", "shed\n")
    assert not any(line.startswith("host-name=") for line in restarted(mdns, "shed"))
    assert mdns.pi.console() == ["piimage: mdns: this Pi answers to shed.local"]
    assert not mdns.kept_name.exists()
    mdns.run("look")
    assert "wanted=" not in str(mdns.announced())


@pytest.mark.parametrize("text", ["", "greenhouse", "greenhouse a=b\n", "greenhouse x.y z", "\0"])
def test_a_file_that_holds_no_name_is_ignored(mdns: Mdns, text: str) -> None:
    mdns.kept_name.write_text(text)
    assert not any(line.startswith("host-name=") for line in restarted(mdns, "greenhouse"))
    assert mdns.pi.console() == ["piimage: mdns: this Pi answers to greenhouse.local"]


@pytest.mark.parametrize(
    ("interfaces", "line"),
    [({}, "deny-interfaces=lo"), ({"MDNS_INTERFACES": "eth0"}, "allow-interfaces=eth0")],
)
def test_it_uses_every_interface_or_those_of_the_file(
    mdns: Mdns, interfaces: dict[str, str], line: str
) -> None:
    mdns.run("read_names; write_configuration", **interfaces)
    lines = (mdns.pi.root / "tmp/avahi-daemon.conf").read_text().splitlines()
    assert lines[:3] == ["[server]", "enable-dbus=no", line]
    assert "disable-user-service-publishing=yes" in lines
