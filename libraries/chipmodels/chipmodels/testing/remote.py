"""The host's side of a guest session: starts it on demand, requests tests, makes reports."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import pytest

from chipmodels.testing import engines
from chipmodels.testing.engine import Engine, GuestUnavailable
from chipmodels.testing.guest import Guest, GuestDied, Job

_SLACK_SECONDS = 10.0
# Options that are applied on the host, that write files there, or that need a terminal.
_HOST_OPTIONS = frozenset(
    (
        "basetemp",
        "cacheclear",
        "cacheshow",
        "collectonly",
        "debug",
        "deselect",
        "dist",
        "distload",
        "durations",
        "failedfirst",
        "file_or_dir",
        "htmlpath",
        "ignore",
        "ignore_glob",
        "inifilename",
        "itemindex",
        "keyword",
        "last_failed_no_failures",
        "lf",
        "log_file",
        "looponfail",
        "markexpr",
        "maxfail",
        "maxprocesses",
        "newfirst",
        "numprocesses",
        "override_ini",
        "pastebin",
        "plugins",
        "px",
        "rootdir",
        "rsyncdir",
        "setuponly",
        "setupplan",
        "setupshow",
        "stepwise",
        "testrunuid",
        "trace",
        "tx",
        "usepdb",
        "usepdb_cls",
        "version",
        "help",
        "xmlpath",
        "device_nodes",
        "dev_nodes",
        "json_report_file",
    )
)


class Remote:
    """The tests that run in the guest, by their names there."""

    def __init__(
        self, config: pytest.Config, names: Mapping[pytest.Item, str], engine: str | None
    ) -> None:
        self._config = config
        self._names = names
        self._engine = engine
        self.engines: set[str] = set()
        self._guest: Guest | None = None
        self._start_failure: str | None = None

    def __contains__(self, item: pytest.Item) -> bool:
        return item in self._names

    def run(self, item: pytest.Item, nextitem: pytest.Item | None) -> list[pytest.TestReport]:
        """Run a test and return its reports; the failure of the guest is an error of the test."""
        following = self._names.get(nextitem, "") if nextitem is not None else ""
        try:
            guest = self._running()
            answer = guest.run(self._names[item], following, self._seconds(item))
        except (GuestUnavailable, GuestDied) as error:
            self._end()
            return _failure(item, str(error))
        except BaseException:
            self._end()  # ^C, and timeouts of other plugins
            raise
        if "missing" in answer:
            errors = "\n".join(answer["errors"])
            return _failure(item, f"the guest did not collect this test\n{errors}".rstrip())
        return [self._report(item, data) for data in answer["reports"]]

    def _report(self, item: pytest.Item, data: dict[str, Any]) -> pytest.TestReport:
        hook = self._config.hook
        report: pytest.TestReport = hook.pytest_report_from_serializable(
            config=self._config, data=data
        )
        if isinstance(report.longrepr, list):
            report.longrepr = tuple(report.longrepr)  # the place of a skip; JSON has no tuples
        report.nodeid = item.nodeid  # xdist may have appended the name of a group
        return report

    def _seconds(self, item: pytest.Item) -> float:
        seconds = float(self._config.getini("device_nodes_timeout"))
        mark = next((m for m in item.iter_markers("timeout") if m.args and m.args[0]), None)
        return max(seconds, float(mark.args[0]) + _SLACK_SECONDS) if mark else seconds

    def _running(self) -> Guest:
        """Return the guest, which the first test starts, and the next test after it died.

        Raises `GuestUnavailable`, and `GuestDied` if it does not start, which is not tried again.
        """
        if self._start_failure is not None:
            raise GuestUnavailable(self._start_failure)
        if self._guest is None:
            try:
                self._guest = self._start()
                self._guest.wait_ready()
            except (GuestUnavailable, GuestDied) as error:
                self._start_failure = str(error)
                raise
        return self._guest

    def _start(self) -> Guest:
        config = self._config
        job = Job(
            arguments=_arguments(config, self._names.values()),
            options=dict(_options(config)),
            folder=str(config.invocation_params.dir),
            environment=_environment(),
            path=[entry for entry in sys.path if entry],
            argv=list(sys.argv),
            modules=[str(path) for path in config.getini("device_nodes_modules")],
        )
        echo = sys.stdout if config.getoption("capture", "") == "no" else None
        engine = self._chosen()
        self.engines.add(engine.title)
        try:
            return Guest(engine, job, int(config.getini("device_nodes_memory")), echo)
        except OSError as error:
            raise GuestUnavailable(f"{engine.title} cannot be started: {error}") from None

    def _chosen(self) -> Engine:
        return engines.named(self._engine) if self._engine else engines.automatic()

    def _end(self) -> None:
        if self._guest is not None:
            self._guest.close()
            self._guest = None

    def close(self) -> None:
        """Stop the guest."""
        self._end()


def _arguments(config: pytest.Config, names: Iterable[str]) -> list[str]:
    """Return a command line that collects the files of these tests as on the host."""
    root = config.rootpath
    files = sorted({str(root / name.partition("::")[0]) for name in names})
    plugins = [f"-p{name}" for name in config.getoption("plugins", None) or ()]
    settings = [f"-o{setting}" for setting in config.getoption("override_ini", None) or ()]
    ini = ["-c", str(config.inipath)] if config.inipath else []
    quiet = ["-pno:terminal", "-pno:cacheprovider", "-oaddopts="]
    fixed = [f"--rootdir={root}", f"--capture={config.getoption('capture')}"]
    modes = [
        f"--assert={config.getoption('assertmode', 'rewrite')}",
        f"--import-mode={config.getoption('importmode', 'prepend')}",
    ]
    return [*ini, *plugins, *settings, *quiet, *fixed, *modes, *files]


def _options(config: pytest.Config) -> Iterator[tuple[str, Any]]:
    for name, value in vars(config.option).items():
        if name in _HOST_OPTIONS:
            continue
        with contextlib.suppress(TypeError, ValueError):
            if json.loads(json.dumps(value)) == value:
                yield name, value


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    return kept | {"PYTHONDONTWRITEBYTECODE": "1"}


def _failure(item: pytest.Item, message: str) -> list[pytest.TestReport]:
    """Return an error of the setup, and the teardown that reporters expect."""
    return [_phase(item, "setup", message), _phase(item, "teardown", None)]


def _phase(
    item: pytest.Item, when: Literal["setup", "teardown"], message: str | None
) -> pytest.TestReport:
    return pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords=dict.fromkeys(item.keywords, 1),
        outcome="failed" if message else "passed",
        longrepr=message,
        when=when,
    )


def enclosing_reports(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Iterator[pytest.TestReport]:
    """Tear down fixtures on the host that the next test does not share.

    Yields the report of a teardown that failed.
    """
    try:
        item.session._setupstate.teardown_exact(nextitem)
    except Exception as error:  # noqa: BLE001 -- any exception of a fixture becomes a report
        yield _phase(item, "teardown", f"{type(error).__name__}: {error}")
