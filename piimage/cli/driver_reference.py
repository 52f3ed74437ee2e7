"""What works on which model, as a page, from the kernels that Debian has now.

python -m piimage.cli.driver_reference > docs/reference/drivers.md
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

from piimage import events
from piimage.cli.output import put
from piimage.hardware.functions import Need, State
from piimage.hardware.survey import Surveyed, kernels, pis, survey
from piimage.locking.resolve import Sources
from piimage.run import Runner
from piimage.store import Store, default_root

_HEAD = """\
# What works on which model

Made by `make docs-drivers`; do not edit. For each function in a board's file, piimage walks the \
model's device tree from the function's nodes through everything that they need (buses, clocks, \
supplies, resets, interrupts, pins) and asks the kernel's own tables for the driver of each. \
**Yes** means that all of them are built in or loaded by the image. This is read from the kernel's \
files; nobody tried it on the hardware for this page. A dash: the model is made without it, or its \
board's file asks nothing of the kernel for it.
"""
_NONE = "\N{EN DASH}"
_WHY = {
    State.NO_NODE: "Debian's device tree has no node {what}",
    State.OFF: "{what} is off in Debian's device tree",
    State.NO_DRIVER: "Debian's kernel has no driver for {what}",
    State.NOT_LOADED: "the image does not load {module}",
}


def driver_reference(found: Sequence[Surveyed]) -> str:
    """Return the page for what the survey found, as Markdown."""
    lines = [_HEAD, *_overview(found), "", *_missing(found), "", *_modules(found)]
    return "\n".join(lines) + "\n"


def _overview(found: Sequence[Surveyed]) -> Iterator[str]:
    names = tuple(dict.fromkeys(name for one in found for name in one.board.functions))
    yield f"| model | kernel | {' | '.join(names)} |"
    yield f"|---|---|{'---|' * len(names)}"
    for one in found:
        cells = (_cell(one.needs.get(name)) for name in names)
        yield f"| {one.model.title} | {_kernel(one)} | {' | '.join(cells)} |"


def _kernel(one: Surveyed) -> str:
    return ".".join(one.release.split(".")[:2])


def _cell(needs: Sequence[Need] | None) -> str:
    if needs is None:
        return _NONE
    return "yes" if all(need.state.works for need in needs) else "**no**"


def _missing(found: Sequence[Surveyed]) -> Iterator[str]:
    yield "## What is missing, and why"
    yield ""
    for one in found:
        reasons = [reason for name, needs in one.needs.items() for reason in _reasons(name, needs)]
        yield from (f"- {one.model.title}: {reason}." for reason in (*reasons, *_stated(one)))


def _reasons(name: str, needs: Iterable[Need]) -> Iterator[str]:
    for need in needs:
        if not need.state.works:
            why = _WHY[need.state].format(what=f"`{need.name}`", module=f"`{need.module}`")
            yield f"{name}: {why}"


def _stated(one: Surveyed) -> Iterator[str]:
    yield from (lack.what.rstrip(".") for lack in (*one.board.lacks, *one.model.lacks))


def _modules(found: Sequence[Surveyed]) -> Iterator[str]:
    yield "## The modules of each function"
    yield ""
    yield (
        "All others that it needs are built in. Those in *italics* are loaded by the initramfs: "
        "those of disks that are no card when such a disk is booted."
    )
    for board in dict.fromkeys(one.board.name for one in found):
        models = [one for one in found if one.board.name == board]
        yield from ("", f"### {board}", "", "| function | modules |", "|---|---|")
        for name in models[0].board.functions:
            needs = (need for one in models for need in one.needs.get(name, ()))
            yield f"| {name} | {_listed(needs)} |"


def _listed(needs: Iterable[Need]) -> str:
    marks = {State.BOOT: "*{}*", State.LATE: "{}", State.WIFI: "{} (with WiFi)"}
    words = (marks[need.state].format(need.module) for need in needs if need.state in marks)
    return ", ".join(dict.fromkeys(words)) or "none"


def _main() -> None:
    sources = Sources(Store(default_root()), Runner(), events.ignore, time.time)
    boards = pis()
    used = kernels(boards, sources)
    found = [one for board in boards for one in survey(board, used, sources.runner)]
    put(driver_reference(found))


if __name__ == "__main__":
    _main()
