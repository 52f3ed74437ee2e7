"""The bridge on the Pi, with programs that note how they were called."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from piimage import resources
from piimage.container.bridge import HOSTS, NAME
from tests.programs.appliance.scripts import Pi, environment

RULES = "table inet piimage {\n}\n"
NAMES = "127.0.0.1 localhost\n10.213.5.9 web\n"
SETTINGS = "proc/sys/net/ipv4"


@pytest.fixture
def pi(tmp_path: Path) -> Pi:
    pi = Pi(tmp_path)
    pi.install_library()
    pi.path("run/piimage/network/x")
    pi.write(f"{SETTINGS}/ip_forward", "0\n")
    pi.write(f"{SETTINGS}/conf/piimage0/route_localnet", "0\n")
    pi.write("proc/sys/net/ipv6/conf/piimage0/disable_ipv6", "0\n")
    pi.write("proc/sys/net/ipv6/conf/eth0/disable_ipv6", "0\n")
    layer(pi, "one")
    pi.path("layers/none/services/x")
    pi.program("ip", IP.format(root=tmp_path))
    pi.program("nft", f'echo "nft $*" >>{tmp_path}/called; [ ! -e {tmp_path}/no-rules ]')
    pi.program("nsenter", f'echo "nsenter $*" >>{tmp_path}/called')
    script = pi.install("bridge")
    # busybox prefers programs of its own.
    text = script.read_text().replace("/proc/", f"{tmp_path}/proc/")
    text = text.replace("\tip ", f"\t{tmp_path}/bin/ip ").replace(
        "&& ip ", f"&& {tmp_path}/bin/ip "
    )
    text = text.replace(") ip ", f") {tmp_path}/bin/ip ").replace("$(ip ", f"$({tmp_path}/bin/ip ")
    script.write_text(text.replace("nsenter -t", f"{tmp_path}/bin/nsenter -t"))
    library = pi.path("usr/lib/piimage/container.sh")
    library.write_text(
        f'{library.read_text()}\nadd_veth() {{ {tmp_path}/bin/ip add_veth "$@"; }}\n'
    )
    return pi


# Shows the address that was added last; fails for the words in the file `refused`.
IP = """
echo "$*" >>{root}/called
case $* in
"link add name piimage0"*) mkdir -p {root}/sys/class/net/piimage0 ;;
"link del dev piimage0") rm -r {root}/sys/class/net/piimage0 ;;
"addr add "*) echo "    inet $3 brd" >{root}/address ;;
"-4 addr show"*) cat {root}/address 2>/dev/null ;;
esac
[ ! -e {root}/refused ] || case $* in $(cat {root}/refused)) exit 1 ;; esac
"""


def layer(pi: Pi, name: str, address: str = "10.213.0.1/20") -> None:
    pi.write(f"layers/{name}/network/bridge", f"ADDRESS='{address}'\n")
    pi.write(f"layers/{name}/network/hosts", NAMES)
    pi.write(f"layers/{name}/network/rules", RULES)


def use(pi: Pi, name: str = "one") -> list[str]:
    """Have the bridge be that of a layer; return the programs' calls."""
    pi.path("called").write_text("")
    assert pi.run("bridge", "use", f"{pi.root}/layers/{name}").returncode == 0
    return pi.path("called").read_text().splitlines()


def attach(pi: Pi, state: str = '{"id": "web", "pid": 77, "annotations": {"\\"pid\\":": "1"}}') -> (
    subprocess.CompletedProcess[str]
):  # fmt: skip
    pi.path("called").write_text("")
    words = ["attach", "veth0509", "10.213.5.9/20", "10.213.0.1", "02:70:0a:d5:05:09"]
    return subprocess.run(
        ["busybox", "sh", pi.root / "usr/lib/piimage/bridge", *words], input=state,
        capture_output=True, text=True, env=environment(), timeout=60, check=False,
    )  # fmt: skip


def test_the_rules_come_before_the_bridge_and_its_way_out(pi: Pi) -> None:
    assert use(pi) == [
        f"nft -f {pi.root}/layers/one/network/rules",
        "link add name piimage0 type bridge",
        "link set dev piimage0 address 02:70:00:00:00:01",
        "-4 addr show dev piimage0",
        "addr flush dev piimage0",
        "addr add 10.213.0.1/20 broadcast + dev piimage0",
        "link set dev piimage0 up",
    ]
    assert pi.path(f"{SETTINGS}/ip_forward").read_text() == "1\n"
    assert pi.path(f"{SETTINGS}/conf/piimage0/route_localnet").read_text() == "1\n"
    assert pi.path("proc/sys/net/ipv6/conf/piimage0/disable_ipv6").read_text() == "1\n"
    assert pi.path("run/piimage/network/bridge").exists()


def test_a_deploy_changes_rules_and_names_and_leaves_the_bridge(pi: Pi) -> None:
    use(pi)
    names = pi.path("run/piimage/network/names.hosts")
    inode = names.stat().st_ino
    layer(pi, "two")
    pi.write("layers/two/network/hosts", "10.213.1.1 other\n")
    assert use(pi, "two") == [
        f"nft -f {pi.root}/layers/two/network/rules",
        "-4 addr show dev piimage0",
        "link set dev piimage0 up",
    ]
    # Containers that run have this very file.
    assert (names.stat().st_ino, names.read_text()) == (inode, "10.213.1.1 other\n")


def test_another_range_replaces_the_address_of_the_pi(pi: Pi) -> None:
    use(pi)
    layer(pi, "two", "172.28.0.1/20")
    called = use(pi, "two")
    assert "addr flush dev piimage0" in called
    assert "addr add 172.28.0.1/20 broadcast + dev piimage0" in called
    assert "link add name piimage0 type bridge" not in called


def test_without_containers_on_the_bridge_nothing_is_left_of_it(pi: Pi) -> None:
    assert use(pi, "none") == []
    use(pi)
    assert use(pi, "none") == [
        "link set dev piimage0 down", "link del dev piimage0", "nft delete table inet piimage",
    ]  # fmt: skip
    assert pi.path(f"{SETTINGS}/ip_forward").read_text() == "0\n"
    assert not pi.path("run/piimage/network/bridge").exists()
    assert not pi.path("run/piimage/network/names.hosts").exists()
    assert pi.console() == []


def test_a_pi_that_was_a_router_stays_one(pi: Pi) -> None:
    pi.write(f"{SETTINGS}/ip_forward", "1\n")
    use(pi)
    use(pi)
    use(pi, "none")
    assert pi.path(f"{SETTINGS}/ip_forward").read_text() == "1\n"


def test_without_rules_there_is_no_bridge_and_no_container_on_it(pi: Pi) -> None:
    use(pi)
    pi.write("no-rules", "")
    pi.path("called").write_text("")
    assert use(pi) == [f"nft -f {pi.root}/layers/one/network/rules"]
    assert pi.console() == [
        "piimage: bridge: the packet filter did not take the rules: containers on the bridge do "
        "not start"
    ]
    done = attach(pi)
    assert done.returncode == 1
    assert done.stderr == "bridge: it is not set up, see the console's messages of the boot\n"


def test_a_bridge_that_cannot_be_made_is_told(pi: Pi) -> None:
    pi.write("refused", "link add name piimage0 type bridge")
    use(pi)
    assert pi.console() == [
        "piimage: bridge: piimage0 could not be made: containers on the bridge do not start"
    ]
    assert attach(pi).returncode == 1


def test_a_container_is_connected_before_its_program_starts(pi: Pi) -> None:
    use(pi)
    done = attach(pi)
    assert done.returncode == 0, done.stderr
    assert pi.path("called").read_text().splitlines() == [
        "link del dev veth0509",
        "add_veth veth0509 veth0509c",
        "link set dev veth0509 master piimage0",
        "link set dev veth0509 up",
        "link set dev veth0509c netns 77",
        f"nsenter -t 77 -n {pi.root}/usr/lib/piimage/bridge inside veth0509c 10.213.5.9/20 "
        "10.213.0.1 02:70:0a:d5:05:09",
    ]


@pytest.mark.parametrize("state", ["", "{}", '{"pid": "x"}'])
def test_a_state_without_a_process_is_refused(pi: Pi, state: str) -> None:
    use(pi)
    done = attach(pi, state)
    assert (done.returncode, done.stderr) == (
        1, "bridge: the runtime did not state the container's process\n",
    )  # fmt: skip


def test_the_pi_s_own_network_is_never_a_container_s(pi: Pi) -> None:
    use(pi)
    for process in ("self", "77"):
        pi.path(f"proc/{process}/ns/net")
    own = pi.write("proc/self/ns/net", "")
    pi.path("proc/77/ns/net").symlink_to(own)
    done = attach(pi)
    assert (done.returncode, done.stderr) == (
        1, "bridge: the container has no network of its own\n",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        ("add_veth*", "bridge: veth0509 could not be made\n"),
        ("*master*", "bridge: veth0509 could not be made\n"),
        ("*netns*", "bridge: veth0509 could not be made\n"),
    ],
)
def test_an_interface_that_cannot_be_made_stops_the_start(
    pi: Pi, refused: str, message: str
) -> None:
    use(pi)
    pi.write("refused", refused)
    done = attach(pi)
    assert (done.returncode, done.stderr) == (1, message)


def test_a_container_s_end_that_cannot_be_set_up_stops_the_start(pi: Pi) -> None:
    use(pi)
    pi.program("nsenter", "exit 1")
    assert attach(pi).stderr == "bridge: the container's interface could not be set up\n"


def test_in_the_container_the_interface_is_eth0(pi: Pi) -> None:
    pi.path("called").write_text("")
    words = ["veth0509c", "10.213.5.9/20", "10.213.0.1", "02:70:0a:d5:05:09"]
    assert pi.run("bridge", "inside", *words).returncode == 0
    assert pi.path("called").read_text().splitlines() == [
        "link set dev lo up",
        "link set dev veth0509c name eth0",
        "link set dev eth0 address 02:70:0a:d5:05:09",
        "addr add 10.213.5.9/20 broadcast + dev eth0",
        "link set dev eth0 up",
        "route add default via 10.213.0.1 dev eth0",
    ]
    assert pi.path("proc/sys/net/ipv6/conf/eth0/disable_ipv6").read_text() == "1\n"


def test_another_action_is_refused(pi: Pi) -> None:
    done = pi.run("bridge", "detach")
    assert (done.returncode, done.stderr) == (1, "bridge: detach is not an action\n")


def test_the_name_of_the_bridge_is_that_of_the_rules() -> None:
    script = (resources.path("appliance") / "rootfs/usr/lib/piimage/bridge").read_text()
    assert f"BRIDGE={NAME}\n" in script
    assert HOSTS.endswith("/network/names.hosts") and "/network/names.hosts\n" in script
