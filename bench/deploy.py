"""A changed line, from the command to a healthy service; and what it costs the old version.

On an emulated Pi: seconds and bytes of `piimage deploy` for one line of hello_world, beside the
restart alone, and how long a web server is away while good and broken versions of it are deployed.
On a Docker engine behind a real sshd, in the same run: `piimage deploy` beside the peer, which is
`docker save | ssh docker load`, then `rm` and `run`. Prints medians and ratios; decides nothing. As
root (the engine), from the top of the checkout:

    .venv/bin/python -m bench.deploy [--runs N]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from piimage.errors import PiimageError
from piimage.store import default_root
from tests.system.deploy.greenhouse import Greenhouse, Pi, booted, card_and_key
from tests.system.deploy.outage import watched
from tests.system.deploy.site import Site, docker_pi

ROOT = Path(__file__).parents[1]
PIIMAGE = ROOT / ".venv" / "bin" / "piimage"
ENTRY = '[/usr/bin/busybox, httpd, -f, -p, "8080", -h, /www]'
SERVES = "exec busybox httpd -f -p 8080 -h /www"
PEER = "docker save, gzip, ssh, docker load, rm, run (no health)"
VERSIONS = {
    "is good": SERVES,
    "exits at once": "echo broken; exit 7",
    "never gets healthy": "exec busybox sleep 1000",
    "exits where the network is": f"[ ! -e /sys/class/net/eth0 ] || exit 7; {SERVES}",
}


@dataclass(frozen=True)
class Deploy:
    """One deploy: wall seconds, bytes sent, and seconds that the service was away."""

    seconds: float
    sent: int
    away: float = 0.0


def middle(found: list[Deploy], field: str) -> float:
    """Return the median of one figure."""
    return statistics.median(getattr(sample, field) for sample in found)


# --- an emulated Pi


def by_command(pi: Pi) -> float:
    """Deploy the file as it is now by the command; return the seconds it took."""
    words = [PIIMAGE, "deploy", pi.greenhouse.file, "--to", "greenhouse"]
    words += ["--ssh-config", str(pi.ssh.config)]
    began = time.monotonic()
    subprocess.run(words, check=True, capture_output=True)
    return time.monotonic() - began


def changed_line(pi: Pi, number: int) -> Deploy:
    """Deploy another line of hello_world: once for the bytes, once by the command."""
    outcome = pi.target(pi.greenhouse.saying(f"HELLO, bytes {number}")).deploy(lambda line: None)
    pi.greenhouse.say(f"HELLO, command {number}")
    return Deploy(by_command(pi), outcome.sent)


def restart(pi: Pi, service: str) -> Deploy:
    """Restart a service, and nothing else."""
    with watched(pi.web_port) as outage, pi.link() as link:
        began = time.monotonic()
        link.ask("restart", service=service, timeout=300)
        seconds = time.monotonic() - began
    return Deploy(seconds, 0, outage.seconds)


def web(pi: Pi, script: str) -> tuple[Deploy, str]:
    """Deploy a web server that is started by `script`; what became of it."""
    entry = f"[/usr/bin/busybox, sh, -c, '{script}']"
    outcome = "deployed"
    with pi.greenhouse.changed("web/service.yml", ENTRY, entry) as release:
        began = time.monotonic()
        with watched(pi.web_port) as outage:
            try:
                pi.target(release).deploy(lambda line: None)
            except PiimageError as error:
                outcome = error.code
        return Deploy(time.monotonic() - began, 0, outage.seconds), outcome


def emulated(runs: int, folder: Path) -> None:
    """Measure on virt, and print."""
    greenhouse = Greenhouse.laid_out(folder / "greenhouse", default_root())
    card, key = card_and_key(greenhouse, folder)
    with booted(greenhouse, card, key) as pi:
        pi.target(greenhouse.saying("HELLO, the first")).deploy(lambda line: None)
        lines = [changed_line(pi, number) for number in range(runs)]
        alone = [restart(pi, "hello_world") for _ in range(runs)]
        print(
            f"one line changed: {middle(lines, 'seconds'):.1f} s from command to healthy, "
            f"{middle(lines, 'sent'):.0f} bytes sent; "
            f"restart alone {middle(alone, 'seconds'):.1f} s"
        )
        away = middle([restart(pi, "web") for _ in range(runs)], "away")
        print(f"web server away: {away:.2f} s by a restart")
        for name, script in VERSIONS.items():
            found, outcomes = zip(*(web(pi, f"{script} # {n}") for n in range(runs)), strict=True)
            gone = middle(list(found), "away")
            print(
                f"  {gone:.2f} s ({gone / away:.2f}) by one that {name}: {', '.join({*outcomes})}"
            )


# --- a Docker engine


def ours(site: Site, page: str) -> Deploy:
    """Deploy another page, as `piimage deploy --to docker+ssh://` does, without the build."""
    site.write(page)
    workloads = site.workloads()
    began = time.monotonic()
    with site.host.client() as client:
        (change,) = site.target(client).deploy(workloads)
    assert change.started
    return Deploy(time.monotonic() - began, change.sent)


def peers(site: Site, socket: str) -> Deploy:
    """Save the image that runs, load it by ssh, and replace the container."""
    with site.host.client() as client:
        image = client.containers.get("web").image.tags[0]
    local = ["docker", "-H", f"unix://{socket}"]
    far = [*site.host.ssh.argv(site.host.host, None, "-T"), f"docker -H unix://{socket}"]
    began = time.monotonic()
    save = subprocess.Popen([*local, "save", image], stdout=subprocess.PIPE)
    pack = subprocess.Popen(["gzip"], stdin=save.stdout, stdout=subprocess.PIPE)
    packed = pack.communicate()[0]
    save.wait()
    subprocess.run([*far[:-1], f"{far[-1]} load"], input=packed, check=True, capture_output=True)
    replace = f"{far[-1]} rm -f peer; {far[-1]} run -d --name peer --platform linux/arm64 {image}"
    subprocess.run([*far[:-1], replace], check=True, capture_output=True)
    return Deploy(time.monotonic() - began, len(packed))


def engine(runs: int, folder: Path) -> None:
    """Measure with an engine, and print."""
    for name in ("pi", "project"):
        (folder / name).mkdir(parents=True)
    with docker_pi(folder / "pi", folder / "project", default_root()) as site:
        site.deploy("first")
        mine = [ours(site, f"page {number}") for number in range(runs)]
        socket = str(site.host.host.engine)
        theirs = [peers(site, socket) for _ in range(runs)]
    print("one page changed, Docker engine over ssh:")
    for tool, found in {"piimage, health included": mine, PEER: theirs}.items():
        print(f"  {tool}: {middle(found, 'seconds'):.1f} s, {middle(found, 'sent'):.0f} bytes")
    print(f"  bytes: 1/{middle(theirs, 'sent') / middle(mine, 'sent'):.0f}; ", end="")
    print(f"seconds: {middle(mine, 'seconds') / middle(theirs, 'seconds'):.2f}")


def main() -> None:
    """Measure both, one after the other."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    print(f"{runs} runs; load before: {os.getloadavg()[0]:.2f}; processors: {os.cpu_count()}")
    with tempfile.TemporaryDirectory(prefix="piimage-bench-") as name:
        emulated(runs, Path(name) / "virt")
        engine(runs, Path(name) / "docker")


if __name__ == "__main__":
    main()
