"""What a person at a screen is told about the Pi, with `console: hdmi`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.programs.appliance.scripts import Pi, end, environment, wait_until

# busybox 1.35: ip -o addr show scope global
ADDRESSES = r"""
2: eth0    inet 192.168.1.7/24 brd 192.168.1.255 scope global eth0\       valid_lft forever
2: eth0    inet6 2001:db8::7/64 scope global dynamic \       valid_lft 86399sec
3: wlan0    inet 10.0.0.3/24 scope global wlan0\       valid_lft forever
"""
HOST = Path("/proc/sys/kernel/hostname").read_text().strip()


class Screen:
    """The program's functions, with the Pi's paths led into a folder."""

    def __init__(self, folder: Path) -> None:
        self.pi = Pi(folder)
        self.pi.install_library()
        self.script = self.pi.install_functions("screen")
        self.pi.path("dev/tty0").touch()
        self.pi.write("addresses", ADDRESSES.lstrip())
        self.pi.path("run/piimage/services/x").parent.mkdir(exist_ok=True)

    def service(self, name: str, state: str, health: str = "", code: str = "") -> None:
        folder = f"run/piimage/services/{name}"
        self.pi.write(f"{folder}/state", f"{state}\n")
        for path, text in ((f"run/piimage/health/{name}", health), (f"{folder}/exit", code)):
            self.pi.path(path).unlink(missing_ok=True)
            if text:
                self.pi.write(path, f"{text}\n")

    def look(self, times: int = 1) -> str:
        looks = "look;" * times
        self.pi.sh(f". {self.script}; ip() {{ cat {self.pi.root}/addresses; }}; {looks}")
        return self.pi.path("dev/tty0").read_text()


@pytest.fixture
def screen(tmp_path: Path) -> Screen:
    return Screen(tmp_path)


def test_name_addresses_and_what_failed(screen: Screen) -> None:
    screen.service("web", "running", "healthy")
    screen.service("mdns", "running", "running")
    screen.service("once", "exited", "", "0")
    screen.service("pump", "back-off", "starting", "7")
    screen.service("lamp", "running", "unhealthy")
    screen.service("dark", "exited", "", "3")
    screen.service("slow", "running", "starting")
    screen.service("later", "waiting", "")
    screen.service("off", "stopped", "")
    assert screen.look() == (
        f"\n  {HOST}\n"
        "  addresses: eth0 192.168.1.7/24, eth0 2001:db8::7/64, wlan0 10.0.0.3/24\n"
        "  failed:    dark (exit code 3), lamp (unhealthy), pump (exit code 7)\n"
        "  starting:  later, slow\n\n"
    )


def test_a_pi_without_network_and_services(screen: Screen) -> None:
    screen.pi.write("addresses", "")
    assert screen.look() == f"\n  {HOST}\n  addresses: none yet\n  failed:    nothing\n\n"


def test_what_has_not_changed_is_not_told_again(screen: Screen) -> None:
    screen.service("web", "running", "healthy")
    assert screen.look(times=3).count("addresses:") == 1


def test_a_change_is_told_below_what_was_there(screen: Screen) -> None:
    screen.pi.path("dev/tty0").write_text("piimage: service web: healthy\n")
    screen.service("web", "back-off", "", "1")
    shown = screen.look()
    assert shown.startswith("piimage: service web: healthy\n\n  ")
    assert "failed:    web (exit code 1)\n" in shown


def test_the_program_tells_a_screen_that_is_there(screen: Screen) -> None:
    pi = screen.pi
    pi.install("screen")
    pi.write("sys/class/graphics/fb0", "")
    process = subprocess.Popen(
        ["busybox", "sh", pi.root / "usr/lib/piimage/screen"], env=environment()
    )
    try:
        wait_until(lambda: "addresses:" in pi.path("dev/tty0").read_text(), "the screen")
    finally:
        end(process)
