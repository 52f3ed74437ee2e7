"""A booted card in QEMU: started, observed, controlled, and always stopped at the end."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import PIPE, Popen, TimeoutExpired
from typing import Final

from piimage import events
from piimage.boards import Board, DiskKind
from piimage.emulator import qemu
from piimage.emulator.console import Console, Line, Phase, phases
from piimage.emulator.drive import Drive, flattened, make_drive
from piimage.emulator.fitting import fitted_tree, kernel_command_line
from piimage.emulator.machine import Machine, emulator_of, port_of, within_limits
from piimage.emulator.ports import SSH, Forward, check_free, free_port
from piimage.errors import PiimageError
from piimage.firmware.reader import BootFiles, read_card, require_bootable
from piimage.run import Runner

_SHOWN_LINES: Final = 25
_PANIC: Final = re.compile(r"Kernel panic - not syncing[^\n]*")
# The pattern matches the whole line, because the text to wait for may be the rest of it.
_BOOT_FAILED: Final = re.compile(r"piimage: (BOOT (?:FAILED|STOPPED)[^\n]*)\n")
_RESET: Final = re.compile(r"reboot: Restarting system")
_OFF: Final = re.compile(r"reboot: (Power down|System halted|Power off not available)")
_BYTES: Final = 65536


@dataclass(frozen=True)
class Options:
    """The options of a boot; None stands for the board's default."""

    cpus: int | None = None
    memory_mib: int | None = None
    disk_size: int | None = None
    """The size of the card in bytes; the data partition grows to fill it."""
    disk_file: Path | None = None
    """The file that keeps the guest's changes."""
    kind: DiskKind = DiskKind.CARD
    """The kind of disk that holds the card's content."""
    ssh_port: int | None = None
    """The port of this host that is forwarded to the board's SSH; 0 chooses a free one."""
    forwards: tuple[Forward, ...] = ()
    tryboot: bool = False
    """Boot the slot of the firmware's one-time tryboot."""

    def all_forwards(self) -> tuple[Forward, ...]:
        """Return all forwards, including that of SSH."""
        if self.ssh_port is None:
            return self.forwards
        return (Forward(self.ssh_port or free_port(), SSH), *self.forwards)


class Session:
    """A running board.

    All methods may be called after the machine has ended.
    """

    def __init__(
        self, machine: Machine, boot_files: BootFiles, process: Popen[bytes], errors: Path
    ) -> None:
        self.machine = machine
        self.boot_files = boot_files
        self._process = process
        self._errors = errors
        self._started = time.monotonic()
        self._cpu = 0.0
        self.console = Console(lambda: (self.seconds(), self.cpu_seconds()))

    @property
    def ssh_port(self) -> int | None:
        """The port of this host that is forwarded to the board's SSH."""
        return next((f.host for f in self.machine.forwards if f.guest == SSH), None)

    @property
    def pid(self) -> int:
        """The process id of QEMU."""
        return self._process.pid

    def seconds(self) -> float:
        """Return the wall seconds since QEMU's start."""
        return time.monotonic() - self._started

    def cpu_seconds(self) -> float:
        """Return the processor seconds of QEMU: user and system time of all threads."""
        # proc(5): utime and stime are fields 14 and 15; field 2, in brackets, may hold blanks.
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
            ticks = int(fields[11]) + int(fields[12])
            self._cpu = max(self._cpu, ticks / os.sysconf("SC_CLK_TCK"))
        return self._cpu

    def wait_for(self, text: str | re.Pattern[str], timeout: float) -> str:
        """Wait until the console shows `text` or matches the pattern; return the matched text.

        Later waits do not see the output up to there. Raises PiimageError ``emulator.timeout``
        after `timeout` seconds, ``emulator.panic`` after a kernel panic, ``emulator.boot-failed``
        if the system stops its boot, ``emulator.ended`` if the machine ends. Each error shows the
        last lines.
        """
        pattern = re.compile(re.escape(text)) if isinstance(text, str) else text
        match = self.console.wait((pattern, _PANIC, _BOOT_FAILED), timeout)
        if match is None:
            raise self._missing(text if isinstance(text, str) else text.pattern, timeout)
        if match.re is pattern:
            return match[0]
        raise self._failed(match)

    def wait_end(self, timeout: float) -> str:
        """Wait until the board powers off or resets; return ``off`` or ``reset``.

        Raises the errors of `wait_for`. QEMU ends by itself if the machine supports it.
        """
        match = self.console.wait((_RESET, _OFF, _PANIC), timeout)
        if match is None and self.console.ended:
            return "off"
        if match is None:
            raise self._missing("the end", timeout)
        if match.re is _PANIC:
            raise self._failed(match)
        return "reset" if match.re is _RESET else "off"

    def send(self, data: str | bytes) -> None:
        """Type `data` on the console; do nothing if the machine has ended."""
        assert self._process.stdin is not None  # noqa: S101  # started with a pipe
        with contextlib.suppress(BrokenPipeError, ValueError):
            self._process.stdin.write(data.encode() if isinstance(data, str) else data)
            self._process.stdin.flush()

    def lines(self) -> tuple[Line, ...]:
        """Return the lines of the console."""
        return self.console.lines()

    def phases(self) -> tuple[Phase, ...]:
        """Return the parts of the boot so far."""
        return phases(self.lines())

    def switch_off(self) -> None:
        """Stop QEMU at once, like unplugging the board."""
        self.cpu_seconds()
        _switch_off(self._process)

    def pump(self, listen: Callable[[bytes], None]) -> None:
        """Pass QEMU's output to the console and to `listen`, until QEMU closes it."""
        assert self._process.stdout is not None  # noqa: S101  # started with a pipe
        source = self._process.stdout.fileno()
        try:
            while data := os.read(source, _BYTES):
                self.console.feed(data)
                listen(data)
        except OSError:
            return
        finally:
            self.console.end()

    def _failed(self, match: re.Match[str]) -> PiimageError:
        """Return the error for a kernel panic, or for a boot that the system stopped."""
        after = f"after {self.seconds():.1f} s; the last lines:{self._last_lines()}"
        if match.re is _PANIC:
            return PiimageError(
                "emulator.panic",
                f"the kernel panicked {after}",
                hint="the first error above is usually the cause",
            )
        return PiimageError(
            "emulator.boot-failed",
            f"{match[1].strip()}, {after}",
            hint="repair what the message names, or boot without --until to look around",
        )

    def _missing(self, text: str, timeout: float) -> PiimageError:
        """Return the error for a text that did not appear."""
        last_lines = self._last_lines()
        if self.console.ended:
            output = self._errors.read_text(errors="replace").strip()
            return PiimageError(
                "emulator.ended",
                f"the machine ended after {self.seconds():.1f} s without {text!r}; "
                f"the console's last lines:{last_lines}"
                + (f"\nQEMU's own output:\n  {output}" if output else ""),
                hint="-v shows the command that started QEMU",
            )
        return PiimageError(
            "emulator.timeout",
            f"{text!r} did not appear within {timeout:g} s; the console's last lines:{last_lines}",
            hint="give more time with --timeout, or boot without --until to look around",
        )

    def _last_lines(self) -> str:
        return "\n  ".join(["", *(line.text for line in self.lines()[-_SHOWN_LINES:])])


@contextlib.contextmanager
def boot(
    image: Path,
    board: Board,
    runner: Runner,
    options: Options | None = None,
    *,
    listen: Callable[[bytes], None] = lambda data: None,
) -> Iterator[Session]:
    """Boot the card `image` as `board`; the machine is stopped at the end of the block.

    Another thread calls `listen` with the console's output. Raises the errors of `read_card`, and
    ``emulator.no-machine``, ``emulator.no-port``, ``emulator.old-qemu``,
    ``emulator.beyond-machine``, ``emulator.disk-size``, ``emulator.port-taken``.
    """
    options = options or Options()
    port_of(emulator_of(board), options.kind)
    qemu.require_qemu(runner)
    with tempfile.TemporaryDirectory(prefix="piimage-") as folder:
        scratch = Path(folder)
        drive = make_drive(runner, image, scratch, size=options.disk_size, kept=options.disk_file)
        with _card(runner, image, drive) as card:
            require_bootable(card, board, runner)
            files = read_card(card, board, runner, tryboot=options.tryboot)
        for remark in files.remarks:
            runner.emit(events.Warning(remark))
        machine = _machine(files, board, runner, options, drive, scratch=scratch)
        with _switched_on(machine, files, runner, listen, errors=scratch / "qemu.log") as session:
            yield session


@contextlib.contextmanager
def reboot(
    session: Session,
    board: Board,
    runner: Runner,
    *,
    tryboot: bool = False,
    listen: Callable[[bytes], None] = lambda data: None,
) -> Iterator[Session]:
    """Stop `session`, and boot its card again with the guest's changes.

    The block of `session` must not have ended, because its card is deleted then. Raises the errors
    of `boot`.
    """
    session.switch_off()
    with tempfile.TemporaryDirectory(prefix="piimage-") as folder:
        scratch = Path(folder)
        old = session.machine
        with flattened(runner, old.drive) as card:
            files = read_card(card, board, runner, tryboot=tryboot)
        options = Options(old.cpus, old.memory_mib, kind=old.kind, forwards=old.forwards)
        machine = _machine(files, board, runner, options, old.drive, scratch=scratch)
        with _switched_on(machine, files, runner, listen, errors=scratch / "qemu.log") as again:
            yield again


@contextlib.contextmanager
def _card(runner: Runner, image: Path, drive: Drive) -> Iterator[Path]:
    """Yield the card that the firmware would read: a kept drive may have changed boot files."""
    if not drive.kept:
        yield image
        return
    with flattened(runner, drive) as path:
        yield path


def _machine(
    files: BootFiles, board: Board, runner: Runner, options: Options, drive: Drive, *, scratch: Path
) -> Machine:
    emulator = emulator_of(board)
    cpus, memory_mib = within_limits(emulator, options.cpus, options.memory_mib)
    forwards = options.all_forwards()
    check_free(forwards)
    tree = fitted_tree(files, board, runner, options.kind)
    return Machine(
        emulator=emulator,
        cpus=cpus,
        memory_mib=memory_mib,
        kernel=_saved(scratch / "kernel", files.kernel),
        initramfs=None if files.initramfs is None else _saved(scratch / "initrd", files.initramfs),
        device_tree=_saved_tree(scratch / "tree.dtb", tree),
        cmdline=kernel_command_line(files, emulator, board.console),
        drive=drive,
        kind=options.kind,
        forwards=forwards,
    )


def _saved(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _saved_tree(path: Path, data: bytes | None) -> Path | None:
    return None if data is None else _saved(path, data)


@contextlib.contextmanager
def _switched_on(
    machine: Machine,
    files: BootFiles,
    runner: Runner,
    listen: Callable[[bytes], None],
    *,
    errors: Path,
) -> Iterator[Session]:
    # QEMU reads the boot files from disk; this process frees their memory.
    freed = replace(files, kernel=b"", initramfs=None, device_tree=None)
    with (
        errors.open("wb") as log,
        runner.start(
            machine.argv(), stdin=PIPE, stdout=PIPE, stderr=log, temporary=errors.parent
        ) as process,
    ):
        session = Session(machine, freed, process, errors)
        reader = threading.Thread(target=session.pump, args=(listen,), daemon=True)
        reader.start()
        try:
            yield session
        finally:
            session.switch_off()
            reader.join(timeout=30)


def _switch_off(process: Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=5)
    except TimeoutExpired:
        process.kill()
        process.wait()
