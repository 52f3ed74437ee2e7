"""The services: their state, their control by process 1, and their logs."""

from __future__ import annotations

import os
import select
import time

from piimage_agent.refusal import Refused, is_name
from piimage_agent.root import Root, assignments, names, read_line, read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

_FILES = ("config.json", "layers", "container.env", "prestart", "poststart")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAUSE = 0.1
_CODE_S = 20.0
_STOP_S = 120.0  # process 1 ends a runner after a minute
# signal(7); the module of that name is slow to import: HUP, INT, PIPE, TERM.
_DEFAULT_SIGNALS = (1, 2, 13, 15)
_TERM, _KILL = 15, 9
_GRACE_S = 2.0
_OUTPUT_LIMIT = 1 << 16
_SPAN = 10  # seconds for each line of a list of times
_LOG_LIMIT = 1 << 26  # bytes of one file of a log
_FOLDER_LIMIT = 1 << 19  # bytes, of all files of a containers layer


def folder_of(root: Root, digest: str) -> str:
    """Return the mount point of a containers layer."""
    return f"{root.run}/layers/{digest}"


def services_in(folder: str) -> list[str]:
    """Return the names of the services of a mounted containers layer."""
    return [name for name in names(f"{folder}/services") if is_name(name)]


def files_of(folder: str) -> dict[str, str]:
    """Return the files of a mounted containers layer by path; raises Refused ``too-large``.

    A compiled profile of AppArmor is no text: each of its bytes is a character of ISO 8859-1.
    """
    found = {}
    size = 0
    for place, _, files in os.walk(f"{folder}/"):
        for name in sorted(files):
            path = f"{place}/{name}"
            text = _read_bytes(path) if place.endswith("/apparmor") else read_text(path)
            size += len(text)
            if size > _FOLDER_LIMIT:
                raise Refused("too-large", "the containers' folders are larger than allowed")
            found[os.path.relpath(path, folder)] = text
    return found


def _read_bytes(path: str) -> str:
    with open(path, encoding="iso8859-1", newline="") as file:
        return file.read(_FOLDER_LIMIT + 1)


def changed(old: str, new: str) -> list[str]:
    """Return the services of `new` that are missing or different in `old`."""
    return [name for name in services_in(new) if _content(old, name) != _content(new, name)]


def _content(folder: str, name: str) -> list[str]:
    return [read_text(f"{folder}/services/{name}/{file}") for file in _FILES]


def require(root: Root, name: object) -> str:
    """Return `name` if there is such a service; raises Refused ``no-service``."""
    known = services_in(f"{root.run}/containers")
    if isinstance(name, str) and name in known:
        return name
    shown = name[:80] if isinstance(name, str) else "that"
    raise Refused(
        "no-service", f"there is no service {shown!r}", f"the services are {', '.join(known)}"
    )


def state(root: Root, name: str) -> dict[str, Any]:
    """Return one service's row of `ps`."""
    folder = f"{root.run}/services/{name}"
    # Before the process: the runner notes the process first, and then that the service runs.
    condition = read_line(f"{folder}/state") or "stopped"
    pid = _number(f"{folder}/pid")
    seconds = None if pid is None else _age(pid)
    return {
        "name": name,
        "state": condition,
        "health": read_line(f"{root.run}/health/{name}"),
        "missing": read_line(f"{folder}/missing").split(),
        "restarts": _number(f"{folder}/restarts") or 0,
        "exit": _number(f"{folder}/exit"),
        "pid": pid if seconds is not None else None,
        "seconds": seconds,
        "memory": _number(root.at(f"sys/fs/cgroup/piimage/services/{name}/memory.current")),
    }


def states(root: Root) -> list[dict[str, Any]]:
    """Return all rows of `ps`."""
    return [state(root, name) for name in services_in(f"{root.run}/containers")]


def names_up(root: Root) -> list[str]:
    """Return the names of the services that are up."""
    return [row["name"] for row in states(root) if is_up(row)]


def _number(path: str) -> int | None:
    text = read_line(path)
    return int(text) if text.isdigit() else None


def _age(pid: int) -> float | None:
    """Return the seconds since a process began; proc_pid_stat(5), field 22."""
    fields = read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    if len(fields) < 20:
        return None
    now = float(read_line("/proc/uptime").split()[0])
    return round(now - int(fields[19]) / _TICKS, 1)


def is_up(row: dict[str, Any]) -> bool:
    """Return whether a service is up: healthy, or running without a health check."""
    if row["state"] == "scheduled":
        well: bool = row["exit"] in (None, 0)
        return well
    if row["state"] == "exited":
        done: bool = row["exit"] == 0
        return done
    running: bool = row["state"] == "running" and row["health"] in ("healthy", "running")
    return running and row["pid"] is not None


def trouble(row: dict[str, Any]) -> str:
    """Return why a service that was just started has failed; empty if it has not."""
    if row["missing"]:
        return unset(row["missing"])
    if row["health"] == "unhealthy":
        return "its health check failed"
    if row["exit"] not in (None, 0):
        return f"it exited with code {row['exit']}"
    if row["state"] == "back-off":
        return "it ended and will be restarted"
    if row["state"] == "running" and row["pid"] is None:
        return "it ended"
    return ""


def unset(missing: list[str]) -> str:
    """Return what to say of a service whose secrets `missing` have no value."""
    commands = ", ".join(f"piimage secret set HOST {name}" for name in missing)
    return f"a secret is not set ({commands})"


def verdict(root: Root, name: str) -> str:
    """Return why a service has failed, with its exit code if that becomes known in time.

    Its runner gets the code from containerd, some time after the process has ended.
    """
    end = time.monotonic() + _CODE_S
    while True:
        row = state(root, name)
        if row["exit"] is not None or row["pid"] is not None or time.monotonic() > end:
            return trouble(row)
        time.sleep(_PAUSE)


def patience(folder: str, name: str) -> int:
    """Return the start period of a service of a containers layer, in seconds."""
    text = read_text(f"{folder}/services/{name}/container.env")
    start = assignments(text).get("HEALTH_START", "")
    return int(start) if start.isdigit() else 0


def wait_up(root: Root, name: str, seconds: float) -> str:
    """Wait until a service is up; return why it failed, or an empty text."""
    end = time.monotonic() + seconds + patience(f"{root.run}/containers", name)
    while True:
        row = state(root, name)
        if is_up(row):
            return ""
        if reason := trouble(row):
            return reason
        if time.monotonic() > end:
            return f"it is not up after {seconds:g} s"
        time.sleep(_PAUSE)


def start(root: Root, name: str, wait: float) -> str:
    """Make process 1 start a service, and wait until it is up; return as `wait_up`."""
    if state(root, name)["state"] == "scheduled":
        return _run_now(root, name, wait)
    if state(root, name)["state"] == "exited":
        stop(root, name)  # its runner still runs, so process 1 regards it as started
    initctl(root, "start", name)
    return wait_up(root, name, wait)


def _run_now(root: Root, name: str, wait: float) -> str:
    """Have a service with a schedule run at once; return why it has failed if it ended by then."""
    folder = f"{root.run}/services/{name}"
    os.close(os.open(f"{folder}/due", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    try:
        pipe = os.open(f"{folder}/events", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Refused("not-up", f"the runner of {name} does not answer: {error.strerror}") from None
    os.write(pipe, b"\n")
    os.close(pipe)
    end = time.monotonic() + wait
    while os.path.exists(f"{folder}/due") or state(root, name)["state"] == "waiting":
        row = state(root, name)
        if row["missing"]:
            return trouble(row)
        if time.monotonic() > end:
            return f"it has not begun after {wait:g} s"
        time.sleep(_PAUSE)
    row = state(root, name)
    return "" if is_up(row) else trouble(row)


def stop(root: Root, name: str) -> None:
    """Make process 1 stop a service, and wait for it; raises Refused ``not-stopped``."""
    initctl(root, "stop", name)
    end = time.monotonic() + _STOP_S
    while state(root, name)["state"] != "stopped":
        if time.monotonic() > end:
            raise Refused("not-stopped", f"{name} does not stop")
        time.sleep(_PAUSE)


def initctl(root: Root, *words: str) -> None:
    """Send a command to process 1; raises Refused ``initctl``."""
    call(["initctl", *words], root.at("usr/sbin/initctl"), 60, "initctl")


def call(argv: Sequence[str], program: str, timeout: float, code: str) -> str:
    """Run a program of the system and return its output; raises Refused `code`.

    The module subprocess is not used, because its import takes a third of a login.
    """
    try:
        status, output = run(argv, program, timeout)
    except OSError as error:
        raise Refused(code, f"{argv[0]}: {error}") from None
    if status != 0:
        raise Refused(code, f"{' '.join(argv)} failed: {output[-500:]}")
    return output


def run(argv: Sequence[str], program: str, timeout: float) -> tuple[int, str]:
    """Return the exit status and the output of a program; raises TimeoutError, OSError."""
    source, sink = os.pipe()
    streams = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, sink, 1),
        (os.POSIX_SPAWN_DUP2, sink, 2),
    ]
    try:
        pid = os.posix_spawn(
            program, list(argv), os.environ, file_actions=streams, setsigdef=_DEFAULT_SIGNALS
        )
    except BaseException:
        os.close(source)
        raise
    finally:
        os.close(sink)
    output, end, late = b"", time.monotonic() + timeout, False
    while not late:
        late = not select.select([source], [], [], max(0.0, end - time.monotonic()))[0]
        data = b"" if late else os.read(source, 1 << 16)
        if not data:
            break
        output = (output + data)[-_OUTPUT_LIMIT:]
    os.close(source)
    if late:
        _end(pid)
        raise TimeoutError(f"it took more than {timeout:g} s")
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), output.decode(errors="replace").strip()


def _end(pid: int) -> None:
    """End a program, which may pass the first signal on to what it has started."""
    os.kill(pid, _TERM)
    end = time.monotonic() + _GRACE_S
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() > end:
            os.kill(pid, _KILL)
            os.waitpid(pid, 0)
            return
        time.sleep(_PAUSE)


# --- logs


def uptime(root: Root) -> float:
    """Return the seconds since the boot, which no time server changes."""
    return float(read_line(root.at("proc/uptime")).split()[0])


def log_tail(root: Root, name: str, lines: int) -> list[str]:
    """Return the last lines of a service's log."""
    folder = root.at(f"var/log/services/{name}")
    text = b"".join(_read(f"{folder}/{file}") for file in ("log.1", "log"))
    return [line.decode(errors="replace")[:500] for line in text.splitlines()[-lines:]]


def ring(root: Root, name: str) -> list[str]:
    """Return the files of a service's log, oldest first."""
    folder = root.at(f"var/log/services/{name}")
    numbers = [int(file[4:]) for file in names(folder) if file[:4] == "log." and file[4:].isdigit()]
    files = [f"{folder}/log.{number}" for number in sorted(numbers, reverse=True)]
    return [*files, f"{folder}/log"]


def end_of_log(root: Root, name: str) -> tuple[int, int]:
    """Return the inode and the size of the present log file; zeros if there is none."""
    try:
        found = os.stat(ring(root, name)[-1])
    except OSError:
        return 0, 0
    return found.st_ino, found.st_size


class Span:
    """The seconds after the boot at which the lines to show begin and end; None for no limit."""

    def __init__(self, since: float | None, until: float | None) -> None:
        self.since, self.until = since, until


def printed(root: Root, name: str, lines: int | None, span: Span, size: int) -> bytes:
    """Return a service's log: the last `lines` of those in `span`.

    Of the present log file, only the first `size` bytes count; `follow` continues there.
    """
    *older, now = ring(root, name)
    text = b"".join(_within(path, span, _LOG_LIMIT) for path in older) + _within(now, span, size)
    if lines is None:
        return text
    return b"".join(text.splitlines(keepends=True)[-lines:]) if lines else b""


def _within(path: str, span: Span, limit: int) -> bytes:
    """Return a log file between the offsets that its list of times has for `span`.

    The list (appliance/rootfs/usr/lib/piimage/log) has lines of ``SECOND OFFSET`` for the first
    line of every ten seconds; the result may therefore have a few older and a few newer lines.
    """
    data = _read(path)[:limit]
    begin = 0 if span.since is None else _offset(path, span.since - _SPAN, len(data))
    end = len(data) if span.until is None else _offset(path, span.until, len(data))
    return data[begin:end]


def _offset(path: str, after: float, size: int) -> int:
    """Return where the first lines begin that have a time after `after`; `size` if none has."""
    for line in read_text(path.replace("/log/services/", "/log/times/")).splitlines():
        second, _, offset = line.partition(" ")
        if second.isdigit() and offset.isdigit() and int(second) > after:
            return int(offset)
    return size


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_LOG_LIMIT)
    except OSError:
        return b""


def follow(
    root: Root,
    name: str,
    end: tuple[int, int],
    show: Callable[[bytes], None],
    ended: Callable[[], bool],
) -> None:
    """Show a service's log after `end` until `ended`, across new files of the ring."""
    path = ring(root, name)[-1]
    inode, offset = end
    while not ended():
        try:
            with open(path, "rb") as file:
                if (now := os.fstat(file.fileno()).st_ino) != inode:
                    if inode and os.path.exists(f"{path}.1"):
                        show(_rest(f"{path}.1", offset))
                    inode, offset = now, 0
                file.seek(offset)
                if data := file.read(1 << 17):
                    show(data)
                    offset += len(data)
        except FileNotFoundError:
            continue


def _rest(path: str, offset: int) -> bytes:
    return _read(path)[offset:]
