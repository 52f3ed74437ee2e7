"""The packages that an appliance needs: for the system, the kernel, and each container."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from piimage import resources
from piimage.board import Board
from piimage.config.load import load_shipped
from piimage.config.models import Appliance, OciRuntime
from piimage.config.system import SystemLayer
from piimage.container.bridge import is_bridged
from piimage.container.ids import has_range, with_range
from piimage.container.merged import merged
from piimage.debian.index import Suite
from piimage.debian.request import Request
from piimage.locking.folders import ContainerFolder, base_tree, folder_requests

RELEASE = "trixie"
"""The Debian release of every appliance."""

AGENT_BASE = "python"
"""The shared lower tree of the agent of `piimage deploy`."""
AGENT_ROOT = f"base/{AGENT_BASE}"
AGENT_OWN_ROOT = "agent"
"""The packages above that tree which the agent alone uses."""
SIGNING_ROOT = "signing"
"""The packages by which the agent checks signatures."""

GPIO_ROOT = "gpio"
"""The packages above the agent's base that the program needs which holds GPIO lines."""

BRIDGE_ROOT = "bridge"
"""The packages for containers on the bridge."""

IDMAP_ROOT = "userns"
"""The packages for containers with `userns: auto`."""

_WITH_AGENT = frozenset({"sshd", "cloud-metadata"})
"""The ready-made containers that start the agent."""
# The regulatory database, which the kernel loads.
_RULES_PACKAGE = "wireless-regdb"
# The kernel hook of raspi-firmware needs these; it never runs here.
_FIRMWARE_WITHOUT = ("dosfstools", "dpkg")
_COMPONENTS = ("main", "contrib", "non-free-firmware")
# The maintainer scripts of the kernel's packages need these; they never run here.
_KERNEL_WITHOUT = (
    "apparmor", "dracut", "initramfs-tools", "kmod", "linux-base", "linux-initramfs-tool",
)  # fmt: skip


def release_suites() -> tuple[Suite, ...]:
    """Return the release with its updates."""
    names = (RELEASE, f"{RELEASE}-updates", f"{RELEASE}-security")
    return tuple(Suite(name, _COMPONENTS) for name in names)


def suites(board: Board) -> tuple[Suite, ...]:
    """Return the suites to search; backports only if the board names them."""
    suites = release_suites()
    if board.kernel.suite in {suite.name for suite in suites}:
        return suites
    return (*suites, Suite(board.kernel.suite, _COMPONENTS, automatic=False))


def system_tree(runtime: OciRuntime) -> SystemLayer:
    """Return the description of the system's base layer, which has the OCI runtime `runtime`."""
    folder = resources.path("appliance") / "system"
    base, own = load_shipped(folder / "base.yml"), load_shipped(folder / f"{runtime}.yml")
    joined = {
        "packages": (*base.packages, *own.packages),
        "without": (*base.without, *own.without),
        "keep": (*base.keep, *own.keep),
        "links": {**base.links, **own.links},
    }
    return base.model_copy(update=joined)


def agent_tree() -> SystemLayer:
    """Return the description of the agent's own layer."""
    return load_shipped(resources.path("appliance") / "agent" / "agent.yml")


def signing_tree() -> SystemLayer:
    """Return the description of the layer with the program that checks signatures."""
    return load_shipped(resources.path("appliance") / "agent" / "signing.yml")


def gpio_tree() -> SystemLayer:
    """Return the description of the layer with libgpiod."""
    return load_shipped(resources.path("appliance") / "gpio" / "gpio.yml")


def requests(
    appliance: Appliance, board: Board, folders: Iterable[ContainerFolder]
) -> tuple[Request, ...]:
    """Return all requests for packages, each root once, sorted by name."""
    system = system_tree(appliance.runtime)
    requests = [
        Request("system", system.packages, system.without),
        *_kernel(appliance, board),
        *_firmware(appliance, board),
        *agent_requests(appliance),
        *bridge_requests(appliance),
        *idmap_requests(appliance),
        *folder_requests(folders),
    ]
    by_root = {request.root: request for request in requests}
    return tuple(request for _, request in sorted(by_root.items()))


def kernel_request(board: Board) -> Request:
    """Return the request for the kernel of `board`."""
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
    """Tell whether the agent has work: over sshd, for an update server, or for a cloud."""
    used = {entry.use for entry in (*appliance.services, *appliance.onboot)}
    return appliance.updates is not None or not used.isdisjoint(_WITH_AGENT)


def agent_requests(appliance: Appliance) -> Iterator[Request]:
    """Yield the requests for the Python that services share and for the agent's own packages."""
    tree = base_tree(AGENT_BASE)
    if wants_agent(appliance) or appliance.gpio:
        yield Request(AGENT_ROOT, tree.packages, tree.without)
    if appliance.gpio:
        lines = gpio_tree()
        yield Request(GPIO_ROOT, lines.packages, (*lines.without, *tree.without))
    if wants_agent(appliance):
        own = agent_tree()
        yield Request(AGENT_OWN_ROOT, own.packages, (*own.without, *tree.without))
        if appliance.signing is not None:
            checks = signing_tree()
            yield Request(SIGNING_ROOT, checks.packages, (*checks.without, *tree.without))


def wants_bridge(appliance: Appliance) -> bool:
    """Tell whether the file, or a container folder that it names, puts a service on the bridge."""
    return any(is_bridged(merged(entry)) for entry in appliance.services)


def bridge_tree() -> SystemLayer:
    """Return the description of the layer with the program for the packet filter."""
    return load_shipped(resources.path("appliance") / "system" / "bridge.yml")


def bridge_requests(appliance: Appliance) -> Iterator[Request]:
    """Yield the request for the packages of the bridge."""
    if wants_bridge(appliance):
        own = bridge_tree()
        yield Request(BRIDGE_ROOT, own.packages, own.without)


def wants_idmap(appliance: Appliance) -> bool:
    """Tell whether a container has a range of user ids of its own (`userns: auto`)."""
    return any(
        has_range(with_range(merged(entry), entry.name), entry.name)
        for section in (appliance.onboot, appliance.services, appliance.onshutdown)
        for entry in section
    )


def idmap_tree() -> SystemLayer:
    """Return the description of the layer with the program that maps the owners of files."""
    return load_shipped(resources.path("appliance") / "system" / "userns.yml")


def idmap_requests(appliance: Appliance) -> Iterator[Request]:
    """Yield the request for the packages of `userns: auto`."""
    if wants_idmap(appliance):
        own = idmap_tree()
        yield Request(IDMAP_ROOT, own.packages, own.without)


def wants_wifi(appliance: Appliance) -> bool:
    """Tell whether the file has WiFi, if only for a network that is set on the card."""
    return appliance.network is not None and appliance.network.wifi is not None


def wifi_requests(appliance: Appliance, board: Board) -> Iterator[Request]:
    """Yield the request for the radio: the board's firmware, and the regulatory database."""
    if board.wifi is not None and wants_wifi(appliance):
        yield Request("wifi", (*board.wifi.packages, _RULES_PACKAGE), _FIRMWARE_WITHOUT)
