"""Every model of every board, examined with the kernel that Debian has for it now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from piimage.boards import Board, Model, board_names, load_board, overlay_sources
from piimage.debian.pinning import Pinning
from piimage.firmware.chains import CHAINS
from piimage.firmware.devicetree import apply_overlays, compile_overlay
from piimage.firmware.fdt import Tree, read_tree
from piimage.hardware.drivers import Drivers, KernelDrivers, open_supply
from piimage.hardware.functions import Examiner, Image, Late, Need
from piimage.kernel.package import UnpackedKernel
from piimage.locking import Sources
from piimage.plan.requests import kernel_request, suites
from piimage.run import Runner
from piimage.steps import Builder, Job


@dataclass(frozen=True)
class Surveyed:
    """What a model has for each function, in the order of the board's file."""

    board: Board
    model: Model
    release: str
    needs: Mapping[str, tuple[Need, ...]]
    late: tuple[Late, ...]
    out_of_order: tuple[tuple[str, str], ...]

    @property
    def faults(self) -> Sequence[str]:
        """What the board's file has to load and does not, or loads too late, a sentence each."""
        return tuple(dict.fromkeys(self._faults()))

    def _faults(self) -> Iterator[str]:
        for name, needs in self.needs.items():
            boots = self.board.functions[name].boots
            for need in needs:
                if need.module and (not need.state.works or (boots and not need.state.early)):
                    where = "boot" if boots else "late"
                    yield f"{need.module} belongs to {where}: {name} needs it ({need.what})"
        for late in self.late:
            yield f"{late.module} belongs to boot: {late.device}, built in, needs {late.supplier}"


def pis() -> tuple[Board, ...]:
    """Return the shipped boards that say what they can do."""
    return tuple(board for board in map(load_board, board_names()) if board.functions)


def survey(boards: Sequence[Board], sources: Sources) -> tuple[Surveyed, ...]:
    """Examine every model of `boards`; the kernels are fetched and unpacked as need be."""
    kernels = {board.kernel: board for board in boards}
    steps = {kernel: _kernel(board, boards, sources) for kernel, board in kernels.items()}
    lists = {kernel: KernelDrivers(step) for kernel, step in steps.items()}
    builder = Builder(sources.store, sources.runner, sources.emit)
    job = builder.build(*steps.values(), *lists.values())
    return tuple(
        one
        for board in boards
        for one in _board(board, job, steps[board.kernel], lists[board.kernel], sources.runner)
    )


def _kernel(board: Board, boards: Iterable[Board], sources: Sources) -> UnpackedKernel:
    """Return the kernel of `board`, with the device trees of all that share it."""
    pinning = Pinning(sources.archive(), sources.fetcher(), suites(board))
    packages = pinning.lock([kernel_request(board)]).of_root("kernel")
    sources.fetcher().fetch(packages)
    sharing = [one for one in boards if one.kernel == board.kernel]
    trees = sorted({name for one in sharing for name in one.trees})
    return UnpackedKernel(tuple(trees), tuple(one.blob for one in packages))


def _board(
    board: Board, job: Job, kernel: UnpackedKernel, lists: KernelDrivers, runner: Runner
) -> Iterator[Surveyed]:
    drivers = Drivers.made(job, lists)
    with open_supply(job, kernel) as supply:
        image = Image.of(board, supply)
    release = job.file(kernel, "release").read_text()
    for model in board.models:
        blob = job.file(kernel, model.tree_name or "").read_bytes()
        yield _examined(
            board, model, release, _examiners(board, model, blob, drivers, image, runner)
        )


def _examiners(
    board: Board, model: Model, blob: bytes, drivers: Drivers, image: Image, runner: Runner
) -> Mapping[str, Examiner]:
    """Return what examines each function: its overlays change the device tree `blob`."""
    found: dict[str, Examiner] = {}
    for name, function in board.functions.items():
        if model.title not in function.absent_on:
            overlays = (*_firmwares(board, model), *board.overlays.always, *function.overlays)
            found[name] = Examiner(_tree(board, model, blob, overlays, runner), drivers, image)
    return found


def _examined(
    board: Board, model: Model, release: str, examiners: Mapping[str, Examiner]
) -> Surveyed:
    pairs = [(examiner, board.functions[name]) for name, examiner in examiners.items()]
    late = (one for examiner, function in pairs for one in examiner.late_suppliers(function))
    order = (one for examiner, function in pairs for one in examiner.out_of_order(function))
    return Surveyed(
        board,
        model,
        release,
        {name: one.needs(board.functions[name]) for name, one in examiners.items()},
        tuple(dict.fromkeys(late)),
        tuple(dict.fromkeys(order)),
    )


def _firmwares(board: Board, model: Model) -> Iterator[str]:
    """Give the overlay that the firmware lays over the tree by itself, if there is one."""
    if model.stepping is not None:
        yield CHAINS[board.firmware.chain].steppings[model.stepping]


def _tree(board: Board, model: Model, blob: bytes, overlays: Iterable[str], runner: Runner) -> Tree:
    known = overlay_sources(board)
    laid = [(name, compile_overlay(runner, known[name])) for name in dict.fromkeys(overlays)]
    return read_tree(apply_overlays(runner, blob, laid, origin=model.title), model.title)
