"""The plugin: it selects the tests that need device nodes and where they run, and has the fixtures.

A test that uses ``i2c_stub``, ``i2c_sim`` or ``spi_sim``, or has the mark ``device_nodes``, runs
on this machine if the kernel has the modules and this process may use them. Otherwise it runs in a
guest, in one session with all such tests, and is reported as if it had run here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest

from chipmodels.target import I2cTarget, SpiTarget
from chipmodels.testing.buses import I2cSimBus, I2cStub, SpiSimBus, i2c_bus, spi_bus
from chipmodels.testing.engines import FINDERS
from chipmodels.testing.guest_loop import GuestLoop
from chipmodels.testing.modules import HostModules, Loader
from chipmodels.testing.remote import Remote, enclosing_reports

MARK = "device_nodes"
NEEDS = {"i2c_stub": ("i2c-dev", "i2c-stub"), "i2c_sim": ("cuse",), "spi_sim": ("cuse",)}
_MARKED_NEEDS = ("i2c-dev", "cuse")
_PLACES = ("auto", "host", "guest", *FINDERS)
_REMOTE = pytest.StashKey[Remote]()
_USED = pytest.StashKey[set[str]]()
_ENGINES = "chipmodels_engines"
_NAME = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, for the command line and the configuration file."""
    group = parser.getgroup("device nodes")
    group.addoption(
        "--device-nodes",
        choices=_PLACES,
        help="where tests that need I2C or SPI device nodes run (default: auto)",
    )
    parser.addini("device_nodes", f"where such tests run: {', '.join(_PLACES)}", default="auto")
    parser.addini(
        "device_nodes_timeout", "seconds that one test may take in the guest", default="60"
    )
    parser.addini("device_nodes_memory", "memory of the guest in MiB", default="512")
    parser.addini(
        "device_nodes_modules", "files of modules that the guest's kernel lacks", type="paths"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Name the mark."""
    config.addinivalue_line(
        "markers", f"{MARK}: needs I2C or SPI device nodes; runs in a guest where there are none"
    )


def _place(config: pytest.Config) -> str:
    chosen = config.getoption("device_nodes", None) or config.getini("device_nodes")
    if chosen not in _PLACES:
        raise pytest.UsageError(f"device_nodes = {chosen}: it is one of {', '.join(_PLACES)}")
    return str(chosen)


def _loop(config: pytest.Config) -> GuestLoop | None:
    """The guest's loop, where this pytest is the one in the guest."""
    plugins = config.pluginmanager.get_plugins()
    return next((plugin for plugin in plugins if isinstance(plugin, GuestLoop)), None)


def _modules(config: pytest.Config) -> Loader:
    loop = _loop(config)
    return HostModules() if loop is None else loop.modules


def _wanted(item: pytest.Item) -> set[str]:
    """The modules that a test needs; empty for one that is none of our business."""
    names = set(getattr(item, "fixturenames", ())) & NEEDS.keys()
    wanted = {module for name in names for module in NEEDS[name]}
    return wanted or (set(_MARKED_NEEDS) if item.get_closest_marker(MARK) else set())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests that use the fixtures, so that ``-m device_nodes`` finds them all."""
    for item in items:
        if _wanted(item):
            item.stash[_NAME] = item.nodeid
            item.add_marker(MARK)
            if config.pluginmanager.hasplugin("xdist"):
                # With --dist loadgroup they share one guest; else each worker has its own.
                item.add_marker(pytest.mark.xdist_group(MARK))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Settle which of the chosen tests run in the guest."""
    config = session.config
    if _loop(config) is not None or config.option.collectonly:
        return
    place, here = _place(config), HostModules()
    remote_items = [item for item in session.items if _runs_elsewhere(item, place, here)]
    if remote_items:
        names = {item: item.stash[_NAME] for item in remote_items}
        session.stash[_REMOTE] = Remote(config, names, place if place in FINDERS else None)
        for item in remote_items:
            if config.pluginmanager.hasplugin("timeout"):
                # Its clock runs in the guest; here it would interrupt the wait for the guest.
                item.add_marker(pytest.mark.timeout(0), append=False)


def _runs_elsewhere(item: pytest.Item, place: str, here: HostModules) -> bool:
    wanted = _wanted(item)
    if not wanted or place == "host":
        return False
    return place != "auto" or not all(here.has(module) for module in wanted)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a test in the guest and report it here."""
    remote = item.session.stash.get(_REMOTE, None)
    if remote is None or item not in remote:
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in remote.run(item, nextitem):
        item.ihook.pytest_runtest_logreport(report=report)
    for report in enclosing_reports(item, nextitem):
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Switch the guest off, and tell xdist's controller which it was."""
    remote = session.stash.get(_REMOTE, None)
    if remote is not None:
        remote.close()
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput[_ENGINES] = sorted(remote.engines)
        else:
            _engines(session.config).update(remote.engines)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:  # noqa: ANN401 -- of xdist, which has no types
    """Take note of the guest that a worker of xdist had."""
    _engines(node.config).update(getattr(node, "workeroutput", {}).get(_ENGINES, ()))


def _engines(config: pytest.Config) -> set[str]:
    return config.stash.setdefault(_USED, set())


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the engines that ran tests."""
    for line in sorted(_engines(config)):
        terminalreporter.write_line(f"device nodes: in {line}")


def pytest_report_header(config: pytest.Config) -> str:
    """Return where tests with device nodes run."""
    return f"device nodes: {_place(config)}"


class I2cSim:
    """The fixture ``i2c_sim``: call it with models by address; each call makes a bus."""

    def __init__(self, stack: ExitStack, modules: Loader) -> None:
        self._stack = stack
        self._modules = modules

    def __call__(self, chips: Mapping[int, I2cTarget]) -> I2cSimBus:
        """Return a bus with these models. Raises `BusError`, ModuleError."""
        self._modules.load("cuse")
        return self._stack.enter_context(i2c_bus(chips))


class SpiSim:
    """The fixture ``spi_sim``: call it with models by chip select; it makes a controller."""

    def __init__(self, stack: ExitStack, modules: Loader) -> None:
        self._stack = stack
        self._modules = modules

    def __call__(self, chips: Mapping[int, SpiTarget]) -> SpiSimBus:
        """Return a controller with these models. Raises `BusError`, ModuleError."""
        self._modules.load("cuse")
        return self._stack.enter_context(spi_bus(chips))


@pytest.fixture
def i2c_stub(pytestconfig: pytest.Config) -> Iterator[I2cStub]:
    """The kernel's i2c-stub: ``bus = i2c_stub({0x77: dump})``, then open ``bus.path``."""
    stub = I2cStub(_modules(pytestconfig))
    yield stub
    stub.close()


@pytest.fixture
def i2c_sim(pytestconfig: pytest.Config) -> Iterator[I2cSim]:
    """Models on an I2C bus: ``bus = i2c_sim({0x77: model})``, then open ``bus.path``."""
    with ExitStack() as stack:
        yield I2cSim(stack, _modules(pytestconfig))


@pytest.fixture
def spi_sim(pytestconfig: pytest.Config) -> Iterator[SpiSim]:
    """Models on an SPI controller: ``bus = spi_sim({0: model})``, then open ``bus.path(0)``."""
    with ExitStack() as stack:
        yield SpiSim(stack, _modules(pytestconfig))
