"""Requests to the agent on one Pi, and its responses."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from piimage.deploy import answers
from piimage.deploy.answers import BadAnswer
from piimage.deploy.hosts import Host
from piimage.deploy.pipe import Lost, Pipe
from piimage.deploy.ssh import Connection, Ssh
from piimage.deploy.text import printable_lines
from piimage.errors import PiimageError

PROTOCOLS: Final = (1, 1)
"""The oldest and the newest protocol that this tool supports."""
FEATURES: Final = ("folders", "put-resume", "put-zlib", "switch", "watch")
COMMAND: Final = "piimage-agent serve"
_GREETING_S: Final = 120.0  # logging in, perhaps with a passphrase, on a Pi Zero
_ANSWER_S: Final = 120.0

Answer = dict[str, Any]
T = TypeVar("T")


class Link:
    """Requests to an agent. Raises the errors of `Pipe`, and ``deploy.refused``."""

    def __init__(self, connection: Connection, cancelled: threading.Event) -> None:
        process = connection.process
        assert process.stdin is not None  # noqa: S101  # requested at its start
        assert process.stdout is not None  # noqa: S101
        self.host = connection.host
        self.features: frozenset[str] = frozenset()
        self._connection = connection
        self._pipe = Pipe(
            process.stdout.fileno(), process.stdin.fileno(), self.host.name, cancelled
        )
        self._number = 0

    @property
    def sent(self) -> int:
        """Bytes that were sent to the agent, without the overhead of SSH."""
        return self._pipe.sent

    @property
    def received(self) -> int:
        """Bytes that were received from the agent."""
        return self._pipe.received

    def greet(self) -> None:
        """Agree on a protocol; raises PiimageError ``deploy.old-agent``, ``deploy.old-tool``."""
        answer = self.ask("hello", protocols=list(PROTOCOLS), features=list(FEATURES))
        self.features = frozenset(self.checked(lambda: answers.texts(answer, "features")))

    def ask(self, operation: str, *, timeout: float = _ANSWER_S, **fields: object) -> Answer:
        """Send a request and return the response."""
        self.tell(operation, **fields)
        return self.answer(timeout)

    def tell(self, operation: str, **fields: object) -> None:
        """Send a request; read the responses with `answer` or `event`."""
        self._number += 1
        with self._explained():
            self._pipe.write({"op": operation, "id": self._number, **fields}, b"", _ANSWER_S)

    def say(self, operation: str, body: bytes = b"", **fields: object) -> None:
        """Send a message that belongs to the current request."""
        with self._explained():
            self._pipe.write({"op": operation, **fields}, body, _ANSWER_S)

    def answer(self, timeout: float = _ANSWER_S) -> Answer:
        """Return the response to the last request."""
        answer, _ = self.event(timeout)
        if answer.get("ok") is not True:
            raise self._pipe.bad("it is not a response")
        return answer

    def event(self, timeout: float) -> tuple[Answer, bytes]:
        """Return the next event or response, and the bytes that follow it."""
        with self._explained():
            answer, body = self._pipe.read(timeout if self._number > 1 else _GREETING_S)
        if answer.get("ok") is False and "event" not in answer:
            raise self._refused(answer)
        return answer, body

    def checked(self, parse: Callable[[], T]) -> T:
        """Return the result of `parse`, which reads a response."""
        try:
            return parse()
        except BadAnswer as bad:
            raise self._pipe.bad(str(bad)) from None

    def bad(self, reason: str) -> PiimageError:
        """Return the error for a response that no agent sends."""
        return self._pipe.bad(reason)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Lost:
            raise self._connection.why_lost() from None

    def _refused(self, answer: Answer) -> PiimageError:
        error = answer.get("error")
        fields = error if isinstance(error, dict) else {}
        code, message, hint = (
            printable_lines(str(fields.get(key, ""))[:2000]) for key in ("code", "message", "hint")
        )
        place = self.host.name
        match code:
            case "protocol":
                return PiimageError(
                    "deploy.old-agent", f"agent and tool have no common protocol: {message}",
                    place=place, hint=hint or None,
                )  # fmt: skip
            case "unknown-operation":
                return PiimageError("deploy.cannot", message, place=place, hint=hint or None)
            case "architecture":
                return PiimageError(
                    "deploy.wrong-architecture", message, place=place, hint=hint or None
                )
        return PiimageError("deploy.refused", message or code, place=place, hint=hint or None)


@contextlib.contextmanager
def linked(ssh: Ssh, host: Host, cancelled: threading.Event) -> Iterator[Link]:
    """Log in to a host, greet its agent, and yield the link; raises the errors of `Link`."""
    with ssh.connected(host, COMMAND) as connection:
        link = Link(connection, cancelled)
        link.greet()
        ssh.remember(host)
        yield link
