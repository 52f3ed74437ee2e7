"""The pytest in the guest: it collects the same files, then runs the requested tests."""

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
    """Replaces pytest's own loop: runs tests by name, one after another, and sends reports."""

    def __init__(self, channel: Channel, options: dict[str, Any], modules: Modules) -> None:
        self.modules = modules
        self._channel = channel
        self._options = options
        self._errors: list[str] = []
        self._reports: list[dict[str, Any]] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Apply the options of the pytest on the host."""
        config.option.__dict__.update(self._options)
        self._config = config

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep errors of the collection, which explain missing tests."""
        if report.failed:
            self._errors.append(report.longreprtext)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the reports of the phases of a test."""
        hook = self._config.hook
        data = hook.pytest_report_to_serializable(config=self._config, report=report)
        self._reports.append(data)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run requested tests until the host ends the session."""
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
        # This test may differ from the one announced before, because of -x or xdist.
        session._setupstate.teardown_exact(item)
        following_item = items.get(following)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following_item)
        session.shouldstop = session.shouldfail = False
        self._channel.send({"reports": self._reports})


def _exit_with_the_host(fd: int) -> None:
    """End this process when the line hangs up, also while a test hangs."""
    poll = select.poll()
    poll.register(fd, 0)
    poll.poll()
    os._exit(1)


def main(job: dict[str, Any]) -> int:
    """Run pytest on the files of the job and return its exit code."""
    fd = os.open(job["line"], os.O_RDWR | os.O_NOCTTY)
    if os.isatty(fd):
        tty.setraw(fd)
    threading.Thread(target=_exit_with_the_host, args=(fd,), daemon=True).start()
    modules = Modules(Path(job["kernel_modules"]), tuple(map(Path, job["modules"])))
    loop = GuestLoop(Channel(fd, fd), job["options"], modules)
    return int(pytest.main(job["arguments"], plugins=[loop]))
