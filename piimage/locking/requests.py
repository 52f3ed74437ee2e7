"""What is asked of the archive: the packages of the system, the kernel, and each container."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from piimage import resources
from piimage.boards import Board
from piimage.config.load import load_system
from piimage.config.models import Appliance
from piimage.config.system import SystemLayer
from piimage.debian.index import Suite
from piimage.debian.request import Request
from piimage.locking.folders import ContainerFolder, base_tree, folder_requests

RELEASE = "trixie"
"""The Debian release that appliances are made from."""

AGENT_BASE = "python"
"""The shared lower tree that the agent of `piimage deploy` runs on."""
AGENT_ROOT = f"base/{AGENT_BASE}"

_SSHD = "sshd"
# The radio rules that the kernel loads, by country.
_RULES_PACKAGE = "wireless-regdb"
_FIRMWARE_WITHOUT = ("dosfstools", "dpkg")
# What the kernel hook of raspi-firmware wants; only its folder of files is wanted here.
_COMPONENTS = ("main", "contrib", "non-free-firmware")
# The kernel's packages want these for their maintainer scripts; nothing here runs those.
_KERNEL_WITHOUT = (
    "apparmor", "dracut", "initramfs-tools", "kmod", "linux-base", "linux-initramfs-tool",
)  # fmt: skip


def release_suites() -> tuple[Suite, ...]:
    """Return the release with its updates."""
    names = (RELEASE, f"{RELEASE}-updates", f"{RELEASE}-security")
    return tuple(Suite(name, _COMPONENTS) for name in names)


def suites(board: Board) -> tuple[Suite, ...]:
    """Return the suites that are looked in; backports only where the board names them."""
    found = release_suites()
    if board.kernel.suite in {suite.name for suite in found}:
        return found
    return (*found, Suite(board.kernel.suite, _COMPONENTS, automatic=False))


def system_tree() -> SystemLayer:
    """Return the description of the system's base layer."""
    return load_system(resources.path("appliance") / "system" / "base.yml")


def requests(
    appliance: Appliance, board: Board, folders: Iterable[ContainerFolder]
) -> tuple[Request, ...]:
    """Return what the lock has to answer, each root once, sorted by name."""
    system = system_tree()
    found = [
        Request("system", system.packages, system.without),
        *_kernel(appliance, board),
        *_firmware(appliance, board),
        *agent_requests(appliance),
        *folder_requests(folders),
    ]
    return tuple(sorted({one.root: one for one in found}.values(), key=lambda one: one.root))


def kernel_request(board: Board) -> Request:
    """Return what is asked for the board's kernel."""
    packages = _from(board.kernel.suite, board.kernel.packages)
    return Request("kernel", packages, _KERNEL_WITHOUT)


def _kernel(appliance: Appliance, board: Board) -> Iterator[Request]:
    if appliance.kernel.image is None:
        yield kernel_request(board)


def _from(suite: str, packages: Sequence[str]) -> tuple[str, ...]:
    if suite == RELEASE:
        return tuple(packages)
    return tuple(f"{name}/{suite}" for name in packages)


def _firmware(appliance: Appliance, board: Board) -> Iterator[Request]:
    if board.firmware.packages:
        yield Request("firmware", board.firmware.packages, _FIRMWARE_WITHOUT)
    yield from wifi_requests(appliance, board)


def wants_agent(appliance: Appliance) -> bool:
    """Tell whether anybody could reach the agent: the ready-made sshd is among the services."""
    return any(entry.use == _SSHD for entry in appliance.services)


def agent_requests(appliance: Appliance) -> Iterator[Request]:
    """Give what the archive is asked for: the Python that services share."""
    if wants_agent(appliance):
        tree = base_tree(AGENT_BASE)
        yield Request(AGENT_ROOT, tree.packages, tree.without)


def wants_wifi(appliance: Appliance) -> bool:
    """Say whether the file asks for WiFi, be it only that a card can be told a network."""
    return appliance.network is not None and appliance.network.wifi is not None


def wifi_requests(appliance: Appliance, board: Board) -> Iterator[Request]:
    """Give what the radio needs of the archive: the board's firmware, and the countries' rules."""
    if board.wifi is not None and wants_wifi(appliance):
        yield Request("wifi", (*board.wifi.packages, _RULES_PACKAGE), _FIRMWARE_WITHOUT)
