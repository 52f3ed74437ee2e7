"""The pytest in the guest: collects the same files, then runs the tests it is asked for."""

from __future__ import annotations

import os
import select
import threading
import tty
from pathlib import Path
from typing import Any

import pytest

from chipmodels.testing.channel import Channel, ChannelClosed
from chipmodels.testing.modules import Modules


class GuestLoop:
    """Takes the place of pytest's own loop: tests by name, one after another, reports back."""

    def __init__(self, channel: Channel, options: dict[str, Any], modules: Modules) -> None:
        self.modules = modules
        self._channel = channel
        self._options = options
        self._errors: list[str] = []
        self._reports: list[dict[str, Any]] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """The options of the pytest that collects hold here as well."""
        config.option.__dict__.update(self._options)
        self._config = config

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """What could not be collected here is told with the tests that are missing."""
        if report.failed:
            self._errors.append(report.longreprtext)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what a test's phases came to."""
        hook = self._config.hook
        data = hook.pytest_report_to_serializable(config=self._config, report=report)
        self._reports.append(data)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run what is asked for until the host has no more."""
        items = {item.nodeid: item for item in session.items}
        self._channel.send({"ready": len(items), "errors": self._errors})
        while True:
            try:
                message = self._channel.receive()
            except ChannelClosed:
                return True
            if "run" not in message:
                return True
            self._run(session, items, message["run"], message["next"])

    def _run(
        self, session: pytest.Session, items: dict[str, pytest.Item], name: str, following: str
    ) -> None:
        item = items.get(name)
        if item is None:
            self._channel.send({"missing": name, "errors": self._errors})
            return
        self._reports = []
        # The test that runs may not be the one announced before: -x, xdist.
        session._setupstate.teardown_exact(item)
        following_item = items.get(following)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following_item)
        session.shouldstop = session.shouldfail = False
        self._channel.send({"reports": self._reports})


def _end_with_the_host(fd: int) -> None:
    """End this process when the line hangs up: a test that hangs would keep the guest for ever."""
    poll = select.poll()
    poll.register(fd, 0)
    poll.poll()
    os._exit(1)


def main(job: dict[str, Any]) -> int:
    """Run pytest on the job's files; its exit status."""
    fd = os.open(job["line"], os.O_RDWR | os.O_NOCTTY)
    if os.isatty(fd):
        tty.setraw(fd)
    threading.Thread(target=_end_with_the_host, args=(fd,), daemon=True).start()
    modules = Modules(Path(job["kernel_modules"]), tuple(map(Path, job["modules"])))
    loop = GuestLoop(Channel(fd, fd), job["options"], modules)
    return int(pytest.main(job["arguments"], plugins=[loop]))
