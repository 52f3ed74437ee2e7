"""How long a web server is away: asked again and again, many times a second."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections.abc import Iterator

_PAUSE = 0.05
_PATIENCE = 2.0  # of one request


class Outage:
    """The longest time without an answer, while it is looked at."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ended = threading.Event()
        self.answers = 0
        self.seconds = 0.0

    def look(self) -> None:
        """Ask until `end`."""
        last = time.monotonic()
        while not self._ended.is_set():
            if self._answers():
                self.answers += 1
                self.seconds = max(self.seconds, time.monotonic() - last)
                last = time.monotonic()
            self._ended.wait(_PAUSE)
        self.seconds = max(self.seconds, time.monotonic() - last)

    def _answers(self) -> bool:
        link = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_PATIENCE)
        try:
            link.request("GET", "/")
            return link.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            link.close()

    def end(self) -> None:
        """Ask no more."""
        self._ended.set()


@contextlib.contextmanager
def watched(port: int) -> Iterator[Outage]:
    """Ask a server that is there now, until the block ends."""
    outage = Outage(port)
    thread = threading.Thread(target=outage.look)
    thread.start()
    try:
        yield outage
    finally:
        outage.end()
        thread.join()
    assert outage.answers, "it never answered"
