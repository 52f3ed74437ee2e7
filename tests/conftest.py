"""What piimage's tests share: marks by folder, and the check that `provokes` tells the truth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from piimage.errors import PiimageError
from piimage.run import Runner
from piimage.store import Store

PROGRAMS = Path(__file__).parent / "programs"
SYSTEM = Path(__file__).parent / "system"


class FailuresAtOnce:
    """Names a test when it fails: a run that is ended before its end has no summary."""

    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        self._reporter = reporter

    @pytest.hookimpl(trylast=True)  # after its F
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._reporter.write(f"\nFAILED {report.nodeid} ({report.when})\n")


def pytest_sessionstart(session: pytest.Session) -> None:
    plugins = session.config.pluginmanager
    reporter = plugins.get_plugin("terminalreporter")
    if reporter is not None:  # a worker of several has none
        plugins.register(FailuresAtOnce(reporter))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(SYSTEM):
            item.add_marker(pytest.mark.system)
        if item.path.is_relative_to(PROGRAMS):
            item.add_marker(pytest.mark.slow)
        if isinstance(item, pytest.Function) and item.get_closest_marker("provokes"):
            item.fixturenames.insert(0, "_provoked")  # not one of thousands that need none


@pytest.fixture(scope="session", autouse=True)
def _state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test writes into the state that the user's own commands left."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
def _provoked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A test that says it provokes an error must have made piimage raise it."""
    marks = request.node.iter_markers("provokes")
    raised: set[str] = set()
    original = PiimageError.__init__

    def noting(self: PiimageError, code: str, *args: object, **options: object) -> None:
        raised.add(code)
        original(self, code, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(PiimageError, "__init__", noting)
    yield
    missing = {code for mark in marks for code in mark.args} - raised
    assert not missing, f"the test says that it provokes {missing}, and did not"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def runner() -> Runner:
    return Runner()
