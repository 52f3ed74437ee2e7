"""A headless Chromium, driven through its debugging pipe (Chrome DevTools Protocol)."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_SECONDS = 120.0


class Browser:
    """One page of a browser."""

    def __init__(self, requests: int, answers: int) -> None:
        self._requests, self._answers = requests, answers
        self._numbers = itertools.count(1)
        self._rest = b""
        self.console: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        return self._call(method, self._session, **parameters)

    def open(self, url: str, width: int, scheme: str = "light") -> None:
        """Show `url` at a width in CSS pixels; narrow ones are a phone's."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=844,
            deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])
        self.call("Page.navigate", url=url)
        self.until("document.body && document.body.dataset.ready === 'yes'")

    def run(self, script: str) -> Any:
        """Return the JSON value of an expression."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, script: str) -> Any:
        """Wait until an expression is true; return its value."""
        end = time.monotonic() + _SECONDS
        while not (value := self.run(script)):
            assert time.monotonic() < end, f"waited in vain for {script}"
            time.sleep(0.1)
        return value

    def picture(self, path: Path) -> None:
        """Write the whole page as PNG."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def _call(self, method: str, session: str = "", **parameters: Any) -> Any:
        number = next(self._numbers)
        request: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if session:
            request["sessionId"] = session
        os.write(self._requests, json.dumps(request).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            if answer.get("method") == "Runtime.exceptionThrown" or (
                answer.get("method") == "Log.entryAdded"
                and answer["params"]["entry"]["level"] in ("warning", "error")
            ):
                self.console.append(json.dumps(answer["params"]))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            data = os.read(self._answers, 1 << 16)
            assert data, "the browser ended"
            self._rest += data
        text, _, self._rest = self._rest.partition(b"\0")
        answer: dict[str, Any] = json.loads(text)
        return answer


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Start a browser with its profile in `folder`."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    assert program, "chromium is not installed: apt-get install chromium"
    requests, answers = os.pipe(), os.pipe()
    # It reads requests on descriptor 3 and writes answers to 4.
    shell = f'exec 3<&{requests[0]} 4>&{answers[1]}; exec "$@"'
    words = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")
    process = subprocess.Popen(
        ["bash", "-c", shell, "chromium", program, *words, "--remote-debugging-pipe",
         f"--user-data-dir={folder / 'profile'}"],
        pass_fds=(requests[0], answers[1]), stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(requests[0])
    os.close(answers[1])
    try:
        yield Browser(requests[1], answers[0])
    finally:
        os.close(requests[1])
        process.terminate()
        process.wait(30)
        os.close(answers[0])
