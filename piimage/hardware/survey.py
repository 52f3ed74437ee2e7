"""The survey of every model of every board, with Debian's present kernel for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from piimage.board import Board, Function, Kernel, Model
from piimage.boards import board_names, load_board, overlay_sources
from piimage.firmware.chains import CHAINS
from piimage.firmware.devicetree import apply_overlays, compile_overlay
from piimage.firmware.fdt import Tree, read_tree
from piimage.hardware.drivers import Drivers, KernelDrivers, open_supply
from piimage.hardware.functions import Examiner, Image, Late, Need
from piimage.kernel.package import UnpackedKernel
from piimage.locking.fetching import make
from piimage.locking.inputs import Inputs
from piimage.locking.requests import kernel_request, suites
from piimage.run import Runner
from piimage.steps import Job


@dataclass(frozen=True)
class Surveyed:
    """The needs of each function of a model, in the order of the board's file."""

    board: Board
    model: Model
    release: str
    needs: Mapping[str, tuple[Need, ...]]
    late: tuple[Late, ...]
    out_of_order: tuple[tuple[str, str], ...]

    @property
    def faults(self) -> Sequence[str]:
        """Sentences on modules that the board's file does not load, or loads too late."""
        return tuple(dict.fromkeys(self._faults()))

    def _faults(self) -> Iterator[str]:
        for name, needs in self.needs.items():
            stage = self.board.functions[name].stage
            for need in needs:
                in_time = need.state.works if stage == "late" else need.state.early
                if need.module and not in_time:
                    yield f"{need.module} belongs to {stage}: {name} needs it ({need.name})"
        for late in self.late:
            yield f"{late.module} belongs to boot: {late.device}, built in, needs {late.supplier}"


@dataclass(frozen=True)
class UsedKernel:
    """An unpacked kernel and its drivers."""

    job: Job
    step: UnpackedKernel
    drivers: Drivers

    @property
    def release(self) -> str:
        """The release of the kernel, such as 6.12.118+deb13-arm64."""
        return self.job.file(self.step, "release").read_text()

    def tree(self, model: Model) -> bytes:
        """Return the device tree of `model`."""
        return self.job.file(self.step, model.tree_name or "").read_bytes()

    def image(self, board: Board) -> Image:
        """Return the modules that an image of `board` loads."""
        with open_supply(self.job, self.step) as supply:
            return Image.of(board, supply)


Kernels = Mapping[Kernel, UsedKernel]


def pis() -> tuple[Board, ...]:
    """Return the shipped boards that list their functions."""
    return tuple(board for board in map(load_board, board_names()) if board.functions)


def kernels(boards: Sequence[Board], inputs: Inputs) -> Kernels:
    """Return the kernels of `boards`; fetch and unpack them if necessary."""
    first = {board.kernel: board for board in boards}
    return {kernel: _kernel(board, boards, inputs) for kernel, board in first.items()}


def survey(board: Board, kernels: Kernels, runner: Runner) -> Iterator[Surveyed]:
    """Examine every model of `board`."""
    kernel = kernels[board.kernel]
    image = kernel.image(board)
    overlays = {
        name: compile_overlay(runner, source) for name, source in overlay_sources(board).items()
    }
    for model in board.models:
        yield _survey(board, model, kernel, image, overlays, runner)


def _kernel(board: Board, boards: Iterable[Board], inputs: Inputs) -> UsedKernel:
    """Return the kernel of `board`, with the device trees of all boards that share it."""
    lock = inputs.pinning(suites(board)).lock([kernel_request(board)])
    sharing = [other for other in boards if other.kernel == board.kernel]
    trees = sorted({name for other in sharing for name in other.trees})
    blobs = tuple(package.blob for package in lock.of_root("kernel"))
    step = UnpackedKernel(tuple(trees), blobs)
    drivers = KernelDrivers(step)
    job = make([step, drivers], lock, inputs)
    return UsedKernel(job, step, Drivers.made(job, drivers))


def _survey(
    board: Board,
    model: Model,
    kernel: UsedKernel,
    image: Image,
    overlays: Mapping[str, bytes],
    runner: Runner,
) -> Surveyed:
    always = (*_by_firmware(board, model), *board.overlays.always)

    @cache
    def tree(names: tuple[str, ...]) -> Tree:
        applied = [(name, overlays[name]) for name in dict.fromkeys((*always, *names))]
        blob = apply_overlays(runner, kernel.tree(model), applied, origin=model.title)
        return read_tree(blob, model.title)

    def examiner(function: Function) -> Examiner:
        loaded = image if function.with_wifi else replace(image, wifi=())
        if function.stage == "other_disks":
            loaded = loaded.booted_from_another_disk()
        return Examiner(tree(function.overlays), kernel.drivers, loaded)

    functions = {n: f for n, f in board.functions.items() if model.title not in f.absent_on}
    examiners = {name: examiner(function) for name, function in functions.items()}
    late = (item for name, f in functions.items() for item in examiners[name].late_suppliers(f))
    order = (pair for name, f in functions.items() for pair in examiners[name].out_of_order(f))
    return Surveyed(
        board,
        model,
        kernel.release,
        {name: examiners[name].needs(function) for name, function in functions.items()},
        tuple(dict.fromkeys(late)),
        tuple(dict.fromkeys(order)),
    )


def _by_firmware(board: Board, model: Model) -> Iterator[str]:
    """Yield the overlay that the firmware applies by itself, if there is one."""
    if model.stepping is not None:
        yield CHAINS[board.firmware.chain].steppings[model.stepping]
