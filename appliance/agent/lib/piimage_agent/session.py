"""An SSH session: reads requests and writes replies."""

from __future__ import annotations

import os
import select
import time

from piimage_agent import (
    FEATURES,
    PROTOCOLS,
    VERSION,
    backup,
    change,
    generations,
    journal,
    restore,
    secrets,
    services,
    status,
    system,
)
from piimage_agent.frames import BadFrame, Ended, read_frame, write_frame
from piimage_agent.layers import Incoming, find, incoming_layer, partial
from piimage_agent.refusal import Refused, digest_of, digests_of, number_of, text_of
from piimage_agent.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_LOCK_S = 2.0
_IDLE = 600  # seconds without a request after which a session ends


class Session:
    """Reads requests on one descriptor and answers on another."""

    def __init__(self, root: Root, source: int, sink: int) -> None:
        self.root = root
        self._source = source
        self._sink = sink
        self._greeted = False
        self._last = 0
        self._lock = -1

    def serve(self) -> int:
        """Answer until the other side closes the session; return the exit status."""
        try:
            while True:
                if not self._has_request_within(_IDLE):
                    return 1
                request, body = read_frame(self._source)
                self._answer(request, body)
        except Ended:
            return 0
        except BadFrame as error:
            self._try_to_reply(Refused("bad-frame", str(error)))
            return 1
        finally:
            self._unlock()

    def _has_request_within(self, seconds: float) -> bool:
        return bool(select.select([self._source], [], [], seconds)[0])

    def _try_to_reply(self, refused: Refused) -> None:
        try:
            write_frame(self._sink, refused.as_reply())
        except (Ended, OSError):
            return

    def _answer(self, request: dict[str, Any], body: bytes) -> None:
        try:
            reply = self._dispatch(request, body)
        except Refused as refused:
            reply = refused.as_reply()
        except OSError as error:
            reply = Refused(
                "io-error", f"{error.filename or 'the Pi'}: {error.strerror}"
            ).as_reply()
        write_frame(self._sink, reply)

    def _dispatch(self, request: dict[str, Any], body: bytes) -> dict[str, Any]:
        operation = text_of(request, "op", 40)
        number = number_of(request, "id", 1, 1 << 53)
        if number != self._last + 1:
            raise Refused("replayed", f"request {number} came after request {self._last}")
        self._last = number
        if body:
            raise Refused("bad-request", "only `data` may have raw bytes")
        if operation == "hello":
            return self._hello(request)
        if not self._greeted:
            raise Refused("no-hello", "the first request has to be `hello`")
        found = self._operations().get(operation)
        if found is None:
            raise Refused(
                "unknown-operation", f"this agent does not support {operation[:40]!r}",
                "build the file again and flash it: the agent is part of the system",
            )  # fmt: skip
        return {"ok": True, **found(request)}

    def _operations(self) -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        return {
            "slot": lambda request: status.slot(self.root),
            "status": lambda request: self._status(),
            "ps": lambda request: {"services": services.states(self.root)},
            "report": lambda request: self._report(),
            "have": self._have,
            "put": self._put,
            "folders": self._folders,
            "switch": self._switch,
            "rollback": self._rollback,
            "watch": self._watch,
            "gc": self._collect,
            "logs": self._logs,
            "start": self._start,
            "stop": self._stop,
            "restart": self._restart,
            "backup": self._backup,
            "restore": self._restore,
            "secrets": lambda request: {"secrets": secrets.listed(self.root)},
            "secret-set": self._secret_set,
            "secret-remove": self._secret_remove,
            "system": lambda request: system.state(self.root),
            "system-have": self._system_have,
            "system-put": self._system_put,
            "system-write": self._system_write,
            "system-try": self._system_try,
            "system-confirm": lambda request: system.confirm(self.root, _recipe(request)),
            "system-rollback": self._system_rollback,
        }

    def _hello(self, request: dict[str, Any]) -> dict[str, Any]:
        low, high = PROTOCOLS
        offered = request.get("protocols")
        if not isinstance(offered, list) or len(offered) != 2:
            raise Refused("bad-request", "hello does not name two protocols")
        newest = min(high, number_of({"newest": offered[1]}, "newest", 0, 1 << 30))
        if newest < max(low, number_of({"oldest": offered[0]}, "oldest", 0, 1 << 30)):
            raise Refused(
                "protocol",
                f"the agent has protocols {low} to {high}, piimage {offered[0]} to {offered[1]}",
                "update piimage" if offered[1] < low else "build the file again and flash it",
            )
        self._greeted = True
        return {
            "ok": True, "protocol": newest, "protocols": list(PROTOCOLS), "agent": VERSION,
            "features": list(FEATURES),
        }  # fmt: skip

    def _status(self) -> dict[str, Any]:
        return {**status.status(self.root), "system": system.state(self.root)}

    def _report(self) -> dict[str, Any]:
        from piimage_agent.report import report  # noqa: PLC0415  # rarely needed

        return report(self.root)

    # --- layers

    def _have(self, request: dict[str, Any]) -> dict[str, Any]:
        wanted = digests_of(request, "layers")
        complete = [digest for digest in wanted if find(self.root, digest)]
        begun = {digest: size for digest in wanted if (size := partial(self.root.layers, digest))}
        return {"have": complete, "partial": begun}

    def _put(self, request: dict[str, Any]) -> dict[str, Any]:
        """Receive a layer."""
        digest = digest_of(request.get("layer"))
        return self._store(request, find(self.root, digest), incoming_layer, digest)

    def _store(
        self,
        request: dict[str, Any],
        found: str | None,
        make: Callable[[Root, str, int], Incoming],
        digest: str,
    ) -> dict[str, Any]:
        """Receive a file: reply with the offset, then read `data` frames until `last`."""
        size = number_of(request, "size", 1, 1 << 40)
        packed = request.get("packing") == "zlib"
        if found:
            return {"stored": True, "offset": size}
        self._take_lock()
        incoming = make(self.root, digest, size)
        try:
            write_frame(self._sink, {"ok": True, "stored": False, "offset": incoming.offset})
            add = incoming.add_packed if packed else incoming.add
            self._receive(add)
            incoming.finish()
        finally:
            incoming.close()
        return {"stored": True, "offset": size}

    def _receive(self, add: Callable[[bytes], None]) -> None:
        """Pass the received bytes to `add`; after a refusal, read and discard the rest."""
        refused: Refused | OSError | None = None
        while True:
            header, body = read_frame(self._source)
            if header.get("op") != "data":
                raise BadFrame("another frame than `data` came within a layer")
            try:
                if refused is None:
                    add(body)
            except (Refused, OSError) as error:
                refused = error
            if header.get("last"):
                break
        if refused is not None:
            raise refused

    def _folders(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the files of the containers layer in use, as the base of a new layer."""
        return {"files": services.files_of(f"{self.root.run}/containers")}

    # --- changes

    def _switch(self, request: dict[str, Any]) -> dict[str, Any]:
        journal.require_no_trial(self.root)
        containers = digest_of(request.get("containers"))
        layers = digests_of(request, "layers")
        machine = os.uname().machine
        if (arch := text_of(request, "arch")) != machine:
            raise Refused(
                "architecture", f"these containers are for {arch}, but this Pi has {machine}",
                "deploy a file whose board has this architecture",
            )  # fmt: skip
        slot = self.root.facts().get("PIIMAGE_SLOT_CONTAINERS", "")
        if text_of(request, "base") != slot:
            raise Refused("base", "the slot has changed since the deploy began", "deploy again")
        if containers == generations.running(self.root):
            return {"run": "", "running": containers}
        if missing := [digest for digest in (*layers, containers) if not find(self.root, digest)]:
            raise Refused("incomplete", f"{len(missing)} layers are missing: {missing[0]}")
        note = text_of(request, "note")
        if not note.isprintable():
            raise Refused("bad-request", "the note is not printable")
        self._take_lock()
        target = generations.create(self.root, containers, layers, note)
        rehearse = request.get("rehearse") is True
        confirm = number_of(request, "confirm", 1, 3600, 30)

        def deploy(folder: str, wait: float) -> change.Change:
            return change.Deploy(self.root, folder, target, wait, confirm, rehearse=rehearse)

        return {"target": target, **self._begin(request, deploy)}

    def _rollback(self, request: dict[str, Any]) -> dict[str, Any]:
        journal.require_no_trial(self.root)
        target = generations.before(self.root)
        if not target:
            raise Refused("nothing-before", "there is no earlier version to roll back to")
        self._take_lock()

        def rollback(folder: str, wait: float) -> change.Change:
            return change.Rollback(self.root, folder, target, wait)

        return {"target": target, **self._begin(request, rollback)}

    def _begin(
        self, request: dict[str, Any], make: Callable[[str, float], change.Change]
    ) -> dict[str, Any]:
        wait = number_of(request, "wait", 1, 3600, 60)
        run = change.begin(self.root, lambda folder: make(folder, wait), self._lock)
        # The change holds the lock now.
        self._unlock()
        return {"run": run}

    def _watch(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send the events of a change, and pass on the tool's confirmation."""
        run = text_of(request, "run", 20)
        folder = change.require(self.root, run)
        shown = number_of(request, "from", 0, 1 << 20, 0)
        while True:
            told = change.events(folder)
            for event in told[shown:]:
                write_frame(self._sink, event)
                if event["event"] == "end":
                    return {"run": run}
            shown = max(shown, len(told))
            if self._has_request_within(0.1):
                word, _ = read_frame(self._source)
                if word.get("op") != "keep":
                    raise BadFrame("only `keep` is allowed while a change is watched")
                change.keep(self.root, run)

    def _collect(self, request: dict[str, Any]) -> dict[str, Any]:
        self._take_lock()
        try:
            count, size = generations.collect(self.root)
        finally:
            self._unlock()
        return {"collected": count, "freed": size}

    # --- the system

    def _system_have(self, request: dict[str, Any]) -> dict[str, Any]:
        return system.have(self.root, digests_of(request, "files"))

    def _system_put(self, request: dict[str, Any]) -> dict[str, Any]:
        """Receive a file of a system, or its recipe."""
        digest = digest_of(request.get("layer"))
        found = system.sources(self.root).get(digest)
        return self._store(request, found, system.incoming_file, digest)

    def _system_write(self, request: dict[str, Any]) -> dict[str, Any]:
        note, target = text_of(request, "note"), text_of(request, "target", 2)
        signature = _bytes(text_of(request, "signature", 1 << 16) if "signature" in request else "")
        proof = system.Proof(signature, may_be_older=request.get("downgrade") is True)
        self._take_lock()
        writing = system.prepare(self.root, _recipe(request), note, target, proof)
        run = change.begin(self.root, writing, self._lock)
        self._unlock()
        return {"run": run}

    def _system_try(self, request: dict[str, Any]) -> dict[str, Any]:
        base = digest_of(request.get("base"))
        deadline = number_of(request, "deadline", 1, 3600, 600)
        self._take_lock()
        return system.start_trial(self.root, _recipe(request), base, deadline)

    def _system_rollback(self, request: dict[str, Any]) -> dict[str, Any]:
        deadline = number_of(request, "deadline", 1, 3600, 600)
        self._take_lock()
        return system.roll_back(self.root, deadline)

    # --- services

    def _logs(self, request: dict[str, Any]) -> dict[str, Any]:
        name = services.require(self.root, request.get("service"))
        lines = None if request.get("lines") is None else number_of(request, "lines", 0, 1 << 20)
        span = services.Span(self._since(request), self._until(request))
        end = services.end_of_log(self.root, name)
        self._show(services.printed(self.root, name, lines, span, end[1]))
        if request.get("follow") is True:
            services.follow(self.root, name, end, self._show, lambda: self._has_request_within(0.3))
        return {}

    def _since(self, request: dict[str, Any]) -> float | None:
        """Return the second after the boot at which the requested lines begin; None for all lines.

        Tools without the feature ``logs-age`` send a time of their own clock.
        """
        if request.get("age") is not None:
            age: float = number_of(request, "age", 0, 1 << 40)
        elif request.get("since") is not None:
            age = time.time() - number_of(request, "since", 0, 1 << 40)
        else:
            return None
        return services.uptime(self.root) - age

    def _until(self, request: dict[str, Any]) -> float | None:
        """Return the second after the boot at which the requested lines end; None for no end."""
        if request.get("until") is None:
            return None
        return services.uptime(self.root) - number_of(request, "until", 0, 1 << 40)

    def _show(self, data: bytes) -> None:
        for at in range(0, len(data), 1 << 16):
            write_frame(self._sink, {"event": "log"}, data[at : at + (1 << 16)])

    def _start(self, request: dict[str, Any]) -> dict[str, Any]:
        name = services.require(self.root, request.get("service"))
        wait = number_of(request, "wait", 1, 3600, 60)
        return self._row(name, services.start(self.root, name, wait))

    def _stop(self, request: dict[str, Any]) -> dict[str, Any]:
        name = services.require(self.root, request.get("service"))
        services.stop(self.root, name)
        return self._row(name, "")

    def _restart(self, request: dict[str, Any]) -> dict[str, Any]:
        name = services.require(self.root, request.get("service"))
        wait = number_of(request, "wait", 1, 3600, 60)
        services.stop(self.root, name)
        return self._row(name, services.start(self.root, name, wait))

    def _row(self, name: str, trouble: str) -> dict[str, Any]:
        return {"service": services.state(self.root, name), "trouble": trouble}

    # --- secrets

    def _secret_set(self, request: dict[str, Any]) -> dict[str, Any]:
        value = _bytes(text_of(request, "value", 1 << 18))
        wait = number_of(request, "wait", 1, 3600, 60)
        self._take_lock()
        try:
            return secrets.put(self.root, request.get("name"), value, wait)
        finally:
            self._unlock()

    def _secret_remove(self, request: dict[str, Any]) -> dict[str, Any]:
        self._take_lock()
        try:
            return secrets.drop(self.root, request.get("name"))
        finally:
            self._unlock()

    # --- data

    def _backup(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send what is on /data, beginning after the path `after`."""

        def send(event: dict[str, Any], data: bytes) -> None:
            write_frame(self._sink, event, data)

        return backup.send_entries(self.root, text_of(request, "after", 4096), send)

    def _restore(self, request: dict[str, Any]) -> dict[str, Any]:
        """Receive a copy of /data: reply with the number of the next entry, then read them all."""
        if os.path.exists(f"{self.root.run}/data-is-temporary"):
            raise Refused("temporary", "/data is temporary here: a restart would lose it again")
        journal.require_no_trial(self.root)
        wait = number_of(request, "wait", 1, 3600, 60)
        archive, size = digest_of(request.get("archive")), number_of(request, "size", 0, 1 << 45)
        self._take_lock()
        try:
            incoming = restore.Incoming(self.root, archive, size)
            write_frame(self._sink, {"ok": True, "next": incoming.count})
            restore.receive(incoming, self._source)
            return {"troubles": restore.apply(self.root, wait)}
        finally:
            self._unlock()

    def _take_lock(self) -> None:
        """Take the lock; a process that has told its end may hold it for a moment more."""
        end = time.monotonic() + _LOCK_S
        while self._lock < 0:
            try:
                self._lock = self.root.lock()
            except Refused:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def _unlock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _bytes(text: str) -> bytes:
    """Return the bytes of hexadecimal digits."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise Refused("bad-request", "a value is not in hexadecimal digits") from None


def _recipe(request: dict[str, Any]) -> str:
    return digest_of(request.get("recipe"))
