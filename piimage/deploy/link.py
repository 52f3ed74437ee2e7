"""A conversation with the agent on one Pi."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from piimage.deploy import answers
from piimage.deploy.answers import Nonsense
from piimage.deploy.hosts import Host
from piimage.deploy.pipe import Lost, Pipe
from piimage.deploy.ssh import Connection, Ssh
from piimage.deploy.text import printable_lines
from piimage.errors import PiimageError

PROTOCOLS: Final = (1, 1)
"""The oldest and the newest protocol that this tool speaks."""
FEATURES: Final = ("folders", "put-resume", "put-zlib", "switch", "watch")
COMMAND: Final = "piimage-agent serve"
_GREETING_S: Final = 60.0  # logging in, perhaps with a passphrase, on a Pi Zero
_ANSWER_S: Final = 120.0

Answer = dict[str, Any]
T = TypeVar("T")


class Link:
    """Requests to an agent, and its answers. Raises what `Pipe` raises and ``deploy.refused``."""

    def __init__(self, connection: Connection, cancelled: threading.Event) -> None:
        process = connection.process
        assert process.stdin is not None  # noqa: S101  # asked for at its start
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
        """Bytes that went to the agent, without what SSH itself adds."""
        return self._pipe.sent

    @property
    def received(self) -> int:
        """Bytes that came from the agent."""
        return self._pipe.received

    def greet(self) -> None:
        """Agree on a protocol; raises PiimageError ``deploy.old-agent``, ``deploy.old-tool``."""
        answer = self.ask("hello", protocols=list(PROTOCOLS), features=list(FEATURES))
        self.features = frozenset(self.checked(lambda: answers.texts(answer, "features")))

    def ask(self, operation: str, *, timeout: float = _ANSWER_S, **fields: object) -> Answer:
        """Make a request and return the answer to it."""
        self.tell(operation, **fields)
        return self.answer(timeout)

    def tell(self, operation: str, **fields: object) -> None:
        """Make a request whose answers are read with `answer` or `event`."""
        self._number += 1
        with self._explained():
            self._pipe.write({"op": operation, "id": self._number, **fields}, b"", _ANSWER_S)

    def say(self, operation: str, body: bytes = b"", **fields: object) -> None:
        """Say something within a request that has begun."""
        with self._explained():
            self._pipe.write({"op": operation, **fields}, body, _ANSWER_S)

    def answer(self, timeout: float = _ANSWER_S) -> Answer:
        """Return the answer to the last request."""
        answer, _ = self.event(timeout)
        if answer.get("ok") is not True:
            raise self._pipe.bad("it is no answer")
        return answer

    def event(self, timeout: float) -> tuple[Answer, bytes]:
        """Return what comes next, an event or the answer, and the bytes behind it."""
        with self._explained():
            answer, body = self._pipe.read(timeout if self._number > 1 else _GREETING_S)
        if answer.get("ok") is False and "event" not in answer:
            raise self._refused(answer)
        return answer, body

    def checked(self, parse: Callable[[], T]) -> T:
        """Return what `parse` makes of an answer."""
        try:
            return parse()
        except Nonsense as nonsense:
            raise self._pipe.bad(str(nonsense)) from None

    def bad(self, what: str) -> PiimageError:
        """Return the error for an answer that an agent never gives."""
        return self._pipe.bad(what)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Lost:
            raise self._connection.why_lost() from None

    def _refused(self, answer: Answer) -> PiimageError:
        said = answer.get("error")
        said = said if isinstance(said, dict) else {}
        code, message, hint = (
            printable_lines(str(said.get(key, ""))[:2000]) for key in ("code", "message", "hint")
        )
        place = self.host.name
        match code:
            case "protocol":
                return PiimageError(
                    "deploy.old-agent", f"agent and tool cannot talk: {message}", place=place,
                    hint=hint or None,
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
    """Log in to a host, greet its agent, and give the link; errors as `Link`."""
    with ssh.connected(host, COMMAND) as connection:
        link = Link(connection, cancelled)
        link.greet()
        ssh.remember(host)
        yield link
