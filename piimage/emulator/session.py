"""A booted card in QEMU: started, observed, controlled, and always stopped at the end.

A reset of the machine is a restart: the card is read again as its boot loader does, and QEMU starts
anew on the same console (`life`).
"""

from __future__ import annotations

import contextlib
import datetime
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from typing import Final

from piimage import events
from piimage.board import Board, DiskKind
from piimage.emulator import qemu
from piimage.emulator.console import Console, Line, Phase, phases
from piimage.emulator.drive import Drive, flattened, make_drive
from piimage.emulator.firmware import firmware_of, require_firmware, try_is_next
from piimage.emulator.fitting import base_tree, fitted_tree, kernel_command_line, try_flag_at
from piimage.emulator.life import Life, Prepared, Restart
from piimage.emulator.machine import Machine, accelerated, emulator_of, port_of, within_limits
from piimage.emulator.ports import SSH, Forward, check_free, check_tap, free_port
from piimage.errors import PiimageError
from piimage.firmware.bootfiles import BootFiles
from piimage.firmware.reader import read_card, require_bootable
from piimage.run import Runner

_SHOWN_LINES: Final = 25
_PANIC: Final = re.compile(r"Kernel panic - not syncing[^\n]*")
# The pattern matches the whole line, because the text to wait for may be the rest of it.
_BOOT_FAILED: Final = re.compile(r"piimage: (BOOT (?:FAILED|STOPPED)[^\n]*)\n")
_OFF: Final = re.compile(r"reboot: (Power down|System halted|Power off not available)")


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
    tap: str | None = None
    """The tap interface of this host that the network is on; then there are no forwards."""
    tryboot: bool = False
    """Boot the slot of the firmware's one-time tryboot."""
    eeprom: datetime.date | None = None
    """The date of the boot loader in the EEPROM; None is the present one."""
    restarts: int = 20
    """The number of restarts after which the machine stays off."""

    def all_forwards(self) -> tuple[Forward, ...]:
        """Return all forwards, including that of SSH."""
        if self.ssh_port is None:
            return self.forwards
        return (Forward(self.ssh_port or free_port(), SSH), *self.forwards)


class Session:
    """A running board, over all of its restarts.

    All methods may be called after the machine has ended.
    """

    def __init__(self, prepared: Prepared, options: Options, errors: Path) -> None:
        self.options = options
        self.failure: PiimageError | None = None
        """Why the board does not start again, if it should."""
        self._prepared = prepared
        self._errors = errors
        self._process: Popen[bytes] | None = None
        self._changes = threading.Condition()
        self._switched_off = False
        self._restarts: tuple[Restart, ...] = ()
        self._awaited = 0
        self._started = time.monotonic()
        self._cpu_before = 0.0  # of earlier starts of QEMU
        self._cpu = 0.0
        self._began = (0.0, 0.0)
        self.console = Console(lambda: (self.seconds(), self.cpu_seconds()))

    @property
    def machine(self) -> Machine:
        """The machine as it was started last."""
        return self._prepared.machine

    @property
    def boot_files(self) -> BootFiles:
        """What the firmware loaded at the last start, without the content of large files."""
        return self._prepared.files

    @property
    def partition(self) -> int:
        """The partition that was booted last."""
        return self.boot_files.partition

    @property
    def restarts(self) -> tuple[Restart, ...]:
        """All restarts so far."""
        return self._restarts

    @property
    def ssh_port(self) -> int | None:
        """The port of this host that is forwarded to the board's SSH."""
        return next((f.host for f in self.machine.forwards if f.guest == SSH), None)

    @property
    def pid(self) -> int:
        """The process id of QEMU as it was started last."""
        assert self._process is not None  # noqa: S101  # `boot` waits for the first start
        return self._process.pid

    def seconds(self) -> float:
        """Return the wall seconds since QEMU's first start."""
        return time.monotonic() - self._started

    def cpu_seconds(self) -> float:
        """Return the processor seconds of QEMU: user and system time of all threads and starts."""
        if self._process is None:
            return 0.0
        # proc(5): utime and stime are fields 14 and 15; field 2, in brackets, may hold blanks.
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
            ticks = int(fields[11]) + int(fields[12])
            self._cpu = max(self._cpu, self._cpu_before + ticks / os.sysconf("SC_CLK_TCK"))
        return self._cpu

    def wait_for(self, text: str | re.Pattern[str], timeout: float) -> str:
        """Wait until the console shows `text` or matches the pattern; return the matched text.

        Later waits do not see the output up to there. The board may restart meanwhile. Raises
        PiimageError ``emulator.timeout`` after `timeout` seconds, ``emulator.panic`` after a kernel
        panic, ``emulator.boot-failed`` if the system stops its boot, ``emulator.ended`` if the
        machine ends, and the errors of a restart (`Life.run`). Each error shows the last lines.
        """
        pattern = re.compile(re.escape(text)) if isinstance(text, str) else text
        match = self.console.wait((pattern, _PANIC, _BOOT_FAILED), timeout)
        if match is None:
            raise self._missing(text if isinstance(text, str) else text.pattern, timeout)
        if match.re is pattern:
            return match[0]
        raise self._failed(match)

    def wait_restart(self, timeout: float) -> Restart:
        """Wait for the next restart that no earlier call has returned, whatever its cause.

        Later waits do not see the output before it. Raises the errors of `wait_for`, but none for a
        panic or a boot that the system stops: both end in a restart.
        """
        number = self._awaited + 1
        if len(self._restarts) < number:
            text = f"[emulator] restart {number}:"
            if self.console.wait([re.compile(re.escape(text))], timeout) is None:
                raise self._missing(f"restart {number}", timeout)
        self._awaited = number
        return self._restarts[number - 1]

    def wait_end(self, timeout: float) -> None:
        """Wait until the board powers off; it may restart and panic before.

        QEMU ends by itself if the machine supports it. Raises ``emulator.timeout``, and the errors
        of a restart (`Life.run`).
        """
        match = self.console.wait((_OFF,), timeout)
        if self.failure is not None:
            raise self.failure
        if match is None and not self.console.ended:
            raise self._missing("the end", timeout)

    def send(self, data: str | bytes) -> None:
        """Type `data` on the console; do nothing if the machine has ended, or restarts."""
        if self._process is None or self._process.stdin is None:
            return
        with contextlib.suppress(BrokenPipeError, ValueError):
            self._process.stdin.write(data.encode() if isinstance(data, str) else data)
            self._process.stdin.flush()

    def lines(self) -> tuple[Line, ...]:
        """Return the lines of the console, from all starts."""
        return self.console.lines()

    def phases(self) -> tuple[Phase, ...]:
        """Return the parts of the last boot so far."""
        seconds, cpu = self._began
        return phases(
            [
                replace(line, seconds=line.seconds - seconds, cpu_seconds=line.cpu_seconds - cpu)
                for line in self._lines_of_boot()
            ]
        )

    def switch_off(self) -> None:
        """Stop QEMU at once, like unplugging the board."""
        self.cpu_seconds()
        with self._changes:
            self._switched_off = True
            process = self._process
        if process is not None:
            _switch_off(process)

    # --- for `Life`, which restarts the machine in a thread of its own

    def begin(self, prepared: Prepared, process: Popen[bytes]) -> bool:
        """Note a start; return False if the board is to be off."""
        with self._changes:
            self._cpu_before, self._process, self._prepared = self._cpu, process, prepared
            self._began = (self.seconds(), self._cpu) if self._restarts else (0.0, 0.0)
            self._changes.notify_all()
            return not self._switched_off

    def note_restart(self, restart: Restart) -> None:
        """Note why and from where the board starts again."""
        self._restarts += (restart,)

    def end(self, failure: PiimageError | None) -> None:
        """Note that the board does not start again."""
        self.failure = failure
        self.console.end()
        with self._changes:
            self._changes.notify_all()

    def wait_for_start(self) -> None:
        """Wait until QEMU runs; raise the error if it cannot be started."""
        with self._changes:
            self._changes.wait_for(lambda: self._process is not None or self.console.ended)
        if self._process is None and self.failure is not None:
            raise self.failure

    def panicked(self) -> bool:
        """Return whether the kernel has panicked since the last start."""
        return any(_PANIC.search(line.text) for line in self._lines_of_boot())

    def _lines_of_boot(self) -> list[Line]:
        return [line for line in self.lines() if line.seconds >= self._began[0]]

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
        if self.failure is not None:
            return self.failure
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
    ``emulator.no-firmware``, ``emulator.beyond-machine``, ``emulator.disk-size``,
    ``emulator.cd``, ``emulator.port-taken``, ``emulator.no-tap``.
    """
    options = options or Options()
    port_of(emulator_of(board), options.kind)
    qemu.require_qemu(runner)
    require_firmware(emulator_of(board).firmware)
    with tempfile.TemporaryDirectory(prefix="piimage-") as folder:
        scratch = Path(folder)
        size, kept, kind = options.disk_size, options.disk_file, options.kind
        drive = make_drive(runner, image, scratch, size=size, kept=kept, kind=kind)
        with _card(runner, image, drive) as card:
            require_bootable(card, board, runner)
            files = _files(card, board, runner, options, drive, tryboot=options.tryboot)
        for remark in files.remarks:
            runner.emit(events.Warning(remark))
        with _switched_on(board, runner, options, files, drive, scratch, listen) as session:
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
    """Cut the power of `session`, and boot its card again with the guest's changes.

    The block of `session` must not have ended, because its card is deleted then. Raises the errors
    of `boot`.
    """
    session.switch_off()
    drive = session.machine.drive
    with tempfile.TemporaryDirectory(prefix="piimage-") as folder:
        scratch = Path(folder)
        with flattened(runner, drive) as card:
            files = _files(card, board, runner, session.options, drive, tryboot=tryboot)
        with _switched_on(board, runner, session.options, files, drive, scratch, listen) as again:
            yield again


@contextlib.contextmanager
def _card(runner: Runner, image: Path, drive: Drive) -> Iterator[Path]:
    """Yield the card that the firmware would read: a kept drive may have changed boot files."""
    if not drive.kept:
        yield image
        return
    with flattened(runner, drive) as path:
        yield path


def _files(
    card: Path, board: Board, runner: Runner, options: Options, drive: Drive, *, tryboot: bool
) -> BootFiles:
    tried = tryboot or try_is_next(drive)
    return read_card(card, board, runner, tryboot=tried, eeprom=options.eeprom)


def _prepared(
    files: BootFiles, board: Board, runner: Runner, options: Options, drive: Drive, *, scratch: Path
) -> Prepared:
    emulator = accelerated(emulator_of(board), os.environ)
    cpus, memory_mib = within_limits(emulator, options.cpus, options.memory_mib)
    check_free(options.forwards)
    if options.tap is not None:
        check_tap(options.tap)
    base = base_tree(files, emulator, runner, cpus, memory_mib)
    tree = fitted_tree(base, files, board, runner, options.kind)
    machine = Machine(
        emulator=emulator,
        cpus=cpus,
        memory_mib=memory_mib,
        kernel=_saved(scratch / "kernel", files.kernel),
        initramfs=None if files.initramfs is None else _saved(scratch / "initrd", files.initramfs),
        device_tree=_saved_tree(scratch / "tree.dtb", tree),
        cmdline=kernel_command_line(files, emulator, board.console),
        drive=drive,
        kind=options.kind,
        forwards=options.forwards,
        tap=options.tap,
        firmware=firmware_of(runner, emulator.firmware, drive),
        try_flag_at=try_flag_at(tree),
    )
    # QEMU reads the boot files from disk; this process frees their memory.
    return Prepared(machine, replace(files, kernel=b"", initramfs=None, device_tree=None))


def _saved(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _saved_tree(path: Path, data: bytes | None) -> Path | None:
    return None if data is None else _saved(path, data)


@contextlib.contextmanager
def _switched_on(
    board: Board,
    runner: Runner,
    options: Options,
    files: BootFiles,
    drive: Drive,
    scratch: Path,
    listen: Callable[[bytes], None],
) -> Iterator[Session]:
    # A restart keeps a port that was chosen at the first start.
    options = replace(options, forwards=options.all_forwards(), ssh_port=None)
    first = _prepared(files, board, runner, options, drive, scratch=scratch)

    def again(tryboot: bool) -> Prepared:
        with flattened(runner, drive) as card:
            files = _files(card, board, runner, options, drive, tryboot=tryboot)
        return _prepared(files, board, runner, options, drive, scratch=scratch)

    errors = scratch / "qemu.log"
    session = Session(first, options, errors)
    life = Life(session, runner, listen, errors, again, options.restarts)
    thread = threading.Thread(target=life.run, args=(first,), daemon=True)
    thread.start()
    try:
        session.wait_for_start()
        yield session
    finally:
        session.switch_off()
        thread.join(timeout=30)


def _switch_off(process: Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=5)
    except TimeoutExpired:
        process.kill()
        process.wait()
