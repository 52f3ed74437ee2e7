"""The page of what works on which model, made from Debian's current kernels.

python -m piimage.cli.driver_reference > docs/reference/drivers.md
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

from piimage import events
from piimage.cli.output import put
from piimage.hardware.functions import Need, State
from piimage.hardware.survey import Surveyed, kernels, pis, survey
from piimage.locking.inputs import Inputs
from piimage.run import Runner
from piimage.store import Store, default_root

_HEAD = """\
# What works on which model

Made by `make docs-drivers`; do not edit. For each function in a board's file, piimage walks the \
model's device tree from the function's nodes through everything that they need (buses, clocks, \
supplies, resets, interrupts, pins) and looks up the driver of each in the kernel's own tables. \
**Yes** means that all drivers are built in or loaded by the image. The page is derived from the \
kernel's files; it was not tested on hardware. A dash means that the model lacks the function, or \
that the function needs nothing from the kernel.
"""
_NONE = "\N{EN DASH}"
_WHY = {
    State.NO_NODE: "Debian's device tree has no node {what}",
    State.OFF: "{what} is off in Debian's device tree",
    State.NO_DRIVER: "Debian's kernel has no driver for {what}",
    State.NOT_LOADED: "the image does not load {module}",
}


def driver_reference(models: Sequence[Surveyed]) -> str:
    """Return the page for the surveyed models as Markdown."""
    lines = [_HEAD, *_overview(models), "", *_missing(models), "", *_modules(models)]
    return "\n".join(lines) + "\n"


def _overview(models: Sequence[Surveyed]) -> Iterator[str]:
    names = tuple(dict.fromkeys(name for model in models for name in model.board.functions))
    yield f"| model | kernel | {' | '.join(names)} |"
    yield f"|---|---|{'---|' * len(names)}"
    for model in models:
        cells = (_cell(model.needs.get(name)) for name in names)
        yield f"| {model.model.title} | {_kernel(model)} | {' | '.join(cells)} |"


def _kernel(model: Surveyed) -> str:
    return ".".join(model.release.split(".")[:2])


def _cell(needs: Sequence[Need] | None) -> str:
    if needs is None:
        return _NONE
    return "yes" if all(need.state.works for need in needs) else "**no**"


def _missing(models: Sequence[Surveyed]) -> Iterator[str]:
    yield "## What is missing, and why"
    yield ""
    for model in models:
        reasons = [
            reason for name, needs in model.needs.items() for reason in _reasons(name, needs)
        ]
        yield from (f"- {model.model.title}: {reason}." for reason in (*reasons, *_stated(model)))


def _reasons(name: str, needs: Iterable[Need]) -> Iterator[str]:
    for need in needs:
        if not need.state.works:
            reason = _WHY[need.state].format(what=f"`{need.name}`", module=f"`{need.module}`")
            yield f"{name}: {reason}"


def _stated(model: Surveyed) -> Iterator[str]:
    """Give what the files of the board and the model say that they lack."""
    yield from (lack.what.rstrip(".") for lack in (*model.board.lacks, *model.model.lacks))


def _modules(models: Sequence[Surveyed]) -> Iterator[str]:
    yield "## The modules of each function"
    yield ""
    yield (
        "All other drivers of a function are built in. The initramfs loads the modules in "
        "*italics*; it loads those of USB and NVMe disks only when it boots from such a disk."
    )
    for board in dict.fromkeys(model.board.name for model in models):
        members = [model for model in models if model.board.name == board]
        yield from ("", f"### {board}", "", "| function | modules |", "|---|---|")
        for name in members[0].board.functions:
            needs = (need for model in members for need in model.needs.get(name, ()))
            yield f"| {name} | {_listed(needs)} |"


def _listed(needs: Iterable[Need]) -> str:
    marks = {State.BOOT: "*{}*", State.LATE: "{}", State.WIFI: "{} (with WiFi)"}
    modules = (marks[need.state].format(need.module) for need in needs if need.state in marks)
    return ", ".join(dict.fromkeys(modules)) or "none"


def _main() -> None:
    inputs = Inputs(Store(default_root()), Runner(), events.ignore, time.time)
    boards = pis()
    used = kernels(boards, inputs)
    models = [model for board in boards for model in survey(board, used, inputs.runner)]
    put(driver_reference(models))


if __name__ == "__main__":
    _main()
