"""The Pi's own program for the bridge, and the rules of a build, in namespaces of this host.

One namespace is the Pi, two are other machines, each on an interface of the Pi; a real runc starts
two containers with the hook of their config.json. It takes seconds, and can try what no emulated
network passes on: packets of a neighbour that knows the containers' addresses.
tests/system/boot/test_virt_network.py is the same in a boot.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from piimage.config.container import ContainerConfig, merge, secure_defaults
from piimage.container.bridge import HOSTS, attachments, files
from piimage.container.ids import first_id, with_range
from piimage.container.rootfs import Root, notes_of
from piimage.container.spec import Container, runtime_spec
from piimage.oci.models import Execution, canonical_json
from piimage.trees import folder as tree_folder

PROGRAMS = Path(__file__).parents[3] / "appliance/rootfs/usr/lib/piimage"
RANGE = IPv4Network("10.213.0.0/20")
NAMES = f"{HOSTS}:/etc/hosts:ro,bind"
PORTS = ["8080:80", "127.0.0.1:81:80", "192.0.2.5:82:80"]
SERVER = "busybox httpd -p $0 -h /www && exec busybox sleep 1000"
CONTAINERS: dict[str, dict[str, Any]] = {
    "web": {"net": "bridge", "ports": PORTS, "command": ["/bin/busybox", "sh", "-c", SERVER, "80"]},
    "db": {"net": "internal", "command": ["/bin/busybox", "sh", "-c", SERVER, "500"],
           "userns": "auto"},
}  # fmt: skip
FOLDERS = ("bin", "dev", "etc", "proc", "sys", "www")
ROOT = Root([notes_of([tree_folder(name) for name in FOLDERS])])
BEGIN = """
mount -t tmpfs none /run
mkdir /run/groups
mount --rbind /sys/fs/cgroup /run/groups
mount -t sysfs none /sys
mount --rbind /run/groups /sys/fs/cgroup
mkdir -p /run/piimage/network /run/none
cp -r {folder}/root /run/root
ip link set lo up
echo 0 >/proc/sys/net/ipv4/ip_forward
space() {{ unshare -n sleep 1000 </dev/null >/dev/null 2>&1 & echo $! >/run/$1; sleep 0.3; }}
in_() {{ local name=$1; shift; nsenter -t $(cat /run/$name) -n "$@"; }}
start() {{
    runc --root /run/runc run -d --bundle {folder}/services/$1 --pid-file /run/$1 $1 \\
        </dev/null >/run/$1.out 2>&1 || echo "failed: $(cat /run/$1.out)"
    sleep 0.5
}}
machine() {{  # NAME, INTERFACE and ADDRESS of the Pi, ADDRESS of the machine
    space $1
    ip link add $2 type veth peer name far
    ip link set far netns $(cat /run/$1)
    ip addr add $3/24 dev $2
    ip link set $2 up
    in_ $1 sh -c "ip addr add $4/24 dev far; ip link set far up; ip link set lo up
        ip route add default via $3"
}}
page() {{  # NAME of the try, where it begins, URL
    local try=$1 from=$2
    case $from in pi) from= ;; *) from="in_ $from" ;; esac
    echo "$try: $($from curl -s --connect-timeout 1 -m 5 http://$3/ || echo none)"
}}
{folder}/bridge use {folder}/layer
start web; start db
machine neighbour eth0 192.0.2.5 192.0.2.9
machine other eth1 198.51.100.5 198.51.100.9
in_ neighbour busybox httpd -p 80 -h /run/root/www
busybox httpd -p 22 -h /run/root/www
"""
TRIES = """
page neighbour-published neighbour 192.0.2.5:8080
page neighbour-published-at-one-address neighbour 192.0.2.5:82
page other-published-at-one-address other 198.51.100.5:82
page neighbour-unpublished neighbour 192.0.2.5:80
page neighbour-local-port neighbour 192.0.2.5:81
page neighbour-container neighbour {web}:80
page neighbour-internal neighbour {db}:500
in_ neighbour ip route add 127.0.0.5/32 via 192.0.2.5 table local 2>/dev/null
in_ neighbour sh -c 'echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet
    echo 1 >/proc/sys/net/ipv4/conf/far/route_localnet'
in_ neighbour ip route del local 127.0.0.0/8 dev lo table local
in_ neighbour ip route add 127.0.0.5/32 via 192.0.2.5
page neighbour-loopback neighbour 127.0.0.5:81
page other-neighbour other 192.0.2.9:80
page pi-published-loopback pi 127.0.0.1:8080
page pi-local-port pi 127.0.0.1:81
page pi-published pi 192.0.2.5:8080
page pi-local-port-elsewhere pi 192.0.2.5:81
page pi-container pi {web}:80
page db-web db {web}:80
page web-db web {db}:500
page web-pi-gateway web 10.213.0.1:22
page web-pi-address web 192.0.2.5:22
page web-pi-published db 192.0.2.5:8080
page web-out web 192.0.2.9:80
page db-out db 192.0.2.9:80
echo "name: $(runc --root /run/runc exec db busybox wget -q -O - http://web/ 2>&1)"
echo "interface: $(runc --root /run/runc exec db busybox ls /sys/class/net | tr '\\n' ' ')"
echo "user: $(awk '/^Uid:/ {{print $2}}' /proc/$(cat /run/db)/status)"
runc --root /run/runc delete -f web; start web
page again neighbour 192.0.2.5:8080
echo "forward: $(cat /proc/sys/net/ipv4/ip_forward)"
echo "names: $(cat /run/piimage/network/names.hosts | tail -n 1)"
{folder}/bridge use /run/none
echo "left: $(nft list ruleset) $(ls /sys/class/net | grep piimage)"
echo "forward-after: $(cat /proc/sys/net/ipv4/ip_forward)"
runc --root /run/runc delete -f web; runc --root /run/runc delete -f db
for name in neighbour other; do kill $(cat /run/$name); done
"""
REACHED = {
    "neighbour-published", "neighbour-published-at-one-address", "pi-published-loopback",
    "pi-local-port", "pi-published", "pi-container", "db-web", "web-db", "web-pi-published",
    "web-out", "again", "name",
}  # fmt: skip


def write_programs(folder: Path) -> None:
    """Copy the Pi's programs with their paths led to the folder."""
    for name in ("lib.sh", "container.sh", "bridge"):
        text = (PROGRAMS / name).read_text().replace("/usr/lib/piimage", str(folder))
        text = text.replace("CONSOLE=/dev/console", "CONSOLE=/dev/stderr")
        text = text.replace("export PATH=/usr/sbin:/usr/bin", f"export PATH={os.environ['PATH']}")
        text = text.replace("#!/bin/sh", f"#!{shutil.which('busybox')} sh")
        (folder / name).write_text(text)
    (folder / "bridge").chmod(0o755)


def write_container(at: Path, name: str, config: ContainerConfig, address: str) -> None:
    """Write the bundle of a container, as the build does."""
    # A machine that is a container itself may not raise its limit to the default.
    given = ContainerConfig.model_validate({"rlimits": ["nofile,512,1024"], "binds": [NAMES]})
    container = Container(
        name, "services", name, merge(secure_defaults(), config, given), Execution(), ROOT, ("aa",),
        "test", address=address,
    )  # fmt: skip
    bundle = at / "services" / name
    bundle.mkdir(parents=True)
    spec = runtime_spec(container, {}, "amd64")
    spec["root"]["path"] = "/run/root"  # on the Pi the root is mounted where this says
    hooks = spec["hooks"]
    hooks.pop("createContainer", None)  # it mounts the root again; here that is a folder
    hooks["createRuntime"][0]["path"] = str(at / "bridge")
    (bundle / "config.json").write_bytes(canonical_json(spec))


def write_root(root: Path) -> None:
    for name in FOLDERS:
        (root / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    (root / "bin/sh").symlink_to("busybox")
    (root / "etc/hosts").touch()
    (root / "www/index.html").write_text("page\n")


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each try came to."""
    folder = tmp_path_factory.mktemp("bridge")
    write_programs(folder)
    write_root(folder / "root")
    configs = {
        name: with_range(ContainerConfig.model_validate(f), name) for name, f in CONTAINERS.items()
    }
    found = attachments(configs, RANGE)
    layer = folder / "layer/network"
    layer.mkdir(parents=True)
    for name, content in files(found.values(), RANGE, routes=False).items():
        (layer / name).write_bytes(content)
    for name, each in found.items():
        write_container(folder, name, configs[name], str(each.interface(RANGE)))
    places = {name: str(each.address) for name, each in found.items()}
    (folder / "pi.sh").write_text((BEGIN + TRIES).format(folder=folder, **places))
    done = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
         "sh", "-u", folder / "pi.sh"],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    lines = [line.partition(": ") for line in done.stdout.splitlines() if ": " in line]
    assert len(lines) > len(REACHED), done.stdout + done.stderr
    return {name: text for name, _, text in lines}


def test_only_what_is_meant_to_is_reached(tried: dict[str, str]) -> None:
    pages = {name: text for name, text in tried.items() if text in ("page", "none")}
    assert len(pages) == 23
    assert {name for name, text in pages.items() if text == "page"} == REACHED


def test_containers_are_known_by_name(tried: dict[str, str]) -> None:
    assert tried["names"].endswith(" web")
    assert tried["name"] == "page"


def test_a_container_with_its_own_user_ids_has_a_network_of_its_own(tried: dict[str, str]) -> None:
    assert tried["user"] == str(first_id("db"))
    assert tried["interface"].split() == ["eth0", "lo"]


def test_nothing_is_left_of_a_bridge_that_no_container_is_on(tried: dict[str, str]) -> None:
    assert tried["left"].strip() == ""
    assert (tried["forward"], tried["forward-after"]) == ("1", "0")
