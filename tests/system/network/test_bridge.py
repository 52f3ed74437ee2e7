"""The Pi's own program for the bridge, and the rules of a build, in namespaces of this host.

One namespace is the Pi, two are its containers, two are other machines, each on an interface of the
Pi. It takes seconds, and can try what no emulated network passes on: packets of a neighbour that
knows the containers' addresses. tests/system/boot/test_virt_network.py is the same in a boot.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from piimage.config.container import ContainerConfig
from piimage.container.bridge import attachments, files, hook

PROGRAMS = Path(__file__).parents[3] / "appliance/rootfs/usr/lib/piimage"
RANGE = IPv4Network("10.213.0.0/20")
CONTAINERS = {
    "web": {"net": "bridge", "ports": ["8080:80", "127.0.0.1:81:80", "192.0.2.5:82:80"]},
    "db": {"net": "internal"},
}
BEGIN = """
mount -t tmpfs none /run
mount -t sysfs none /sys
mkdir -p /run/piimage/network /run/none /run/www
echo page >/run/www/index.html
ip link set lo up
echo 0 >/proc/sys/net/ipv4/ip_forward
space() {{ unshare -n sleep 1000 </dev/null >/dev/null 2>&1 & echo $! >/run/$1; sleep 0.3; }}
in_() {{ local name=$1; shift; nsenter -t $(cat /run/$name) -n "$@"; }}
attach() {{
    local name=$1; shift
    printf '{{"ociVersion":"1.0.2","id":"%s","pid":%s,"bundle":"/x"}}' $name $(cat /run/$name) |
        {folder}/bridge "$@" || echo "$name: not attached"
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
space web; space db
machine neighbour eth0 192.0.2.5 192.0.2.9
machine other eth1 198.51.100.5 198.51.100.9
for name in web neighbour; do in_ $name busybox httpd -p 80 -h /run/www; done
in_ db busybox httpd -p 5000 -h /run/www
busybox httpd -p 22 -h /run/www
"""
TRIES = """
page neighbour-published neighbour 192.0.2.5:8080
page neighbour-published-at-one-address neighbour 192.0.2.5:82
page other-published-at-one-address other 198.51.100.5:82
page neighbour-unpublished neighbour 192.0.2.5:80
page neighbour-local-port neighbour 192.0.2.5:81
page neighbour-container neighbour {web}:80
page neighbour-internal neighbour {db}:5000
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
page web-db web {db}:5000
page web-pi-gateway web 10.213.0.1:22
page web-pi-address web 192.0.2.5:22
page web-pi-published db 192.0.2.5:8080
page web-out web 192.0.2.9:80
page db-out db 192.0.2.9:80
kill $(cat /run/web); space web
attach web {web_words}
in_ web busybox httpd -p 80 -h /run/www
page again neighbour 192.0.2.5:8080
echo "forward: $(cat /proc/sys/net/ipv4/ip_forward)"
echo "names: $(cat /run/piimage/network/names.hosts | tail -n 1)"
{folder}/bridge use /run/none
echo "left: $(nft list ruleset) $(ls /sys/class/net | grep piimage)"
echo "forward-after: $(cat /proc/sys/net/ipv4/ip_forward)"
for name in web db neighbour other; do kill $(cat /run/$name); done
"""
REACHED = {
    "neighbour-published", "neighbour-published-at-one-address", "pi-published-loopback",
    "pi-local-port", "pi-published", "pi-container", "db-web", "web-db", "web-pi-published",
    "web-out", "again",
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


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each try came to."""
    if shutil.which("nft") is None:
        pytest.skip("nft is not installed here (scripts/setup-host.sh); a boot shows the same")
    folder = tmp_path_factory.mktemp("bridge")
    write_programs(folder)
    configs = {name: ContainerConfig.model_validate(f) for name, f in CONTAINERS.items()}
    found = attachments(configs, RANGE)
    layer = folder / "layer/network"
    layer.mkdir(parents=True)
    for name, content in files(found.values(), RANGE, routes=False).items():
        (layer / name).write_bytes(content)
    words = {
        name: " ".join(hook(each.interface(RANGE))["args"][1:]) for name, each in found.items()
    }
    places = {name: str(each.address) for name, each in found.items()}
    attaching = "".join(f"attach {name} {words[name]}\n" for name in words)
    begin, servers = BEGIN.format(folder=folder).split("machine neighbour", 1)
    tries = TRIES.format(folder=folder, web_words=words["web"], **places)
    (folder / "pi.sh").write_text(f"{begin}{attaching}machine neighbour{servers}{tries}")
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
    assert len(pages) == 22
    assert {name for name, text in pages.items() if text == "page"} == REACHED


def test_containers_are_known_by_name(tried: dict[str, str]) -> None:
    assert tried["names"].endswith(" web")


def test_nothing_is_left_of_a_bridge_that_no_container_is_on(tried: dict[str, str]) -> None:
    assert tried["left"].strip() == ""
    assert (tried["forward"], tried["forward-after"]) == ("1", "0")
