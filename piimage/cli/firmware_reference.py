"""The page of the firmware's rules, made from the reader's own data.

python -m piimage.cli.firmware_reference > docs/reference/firmware.md
"""

from __future__ import annotations

from collections.abc import Iterator

from piimage.cli.output import put
from piimage.firmware.chains import CHAINS, Chain
from piimage.firmware.rules import RULES

_HEAD = """\
# What a Pi's firmware requires of a card

Made by `python -m piimage.cli.firmware_reference`; do not edit. At its end, `piimage build` reads \
the card as the firmware of every model of the board would, in every version of the boot loader, \
and refuses a card that would not boot. `piimage run` boots only a card that passes. QEMU does not \
run the firmware, so these rules take its place. `piimage/firmware/chains.py` names the sources.
"""


def firmware_reference() -> str:
    """Return the page as Markdown."""
    return "\n".join([_HEAD, *_chains(), "", *_rules()]) + "\n"


def _chains() -> Iterator[str]:
    yield "| what starts the kernel | chooses a partition | loads first | ages |"
    yield "|---|---|---|---|"
    for chain in CHAINS.values():
        chooses = "by autoboot.txt" if chain.selects_partition else "no: a folder, by os_prefix"
        ages = "; ".join(age.title for age in chain.loaders)
        yield f"| {chain.title} | {chooses} | {_first_files(chain)} | {ages} |"


def _first_files(chain: Chain) -> str:
    files = [chain.second_stage] if chain.second_stage else []
    if chain.start_files is not None:
        files += [chain.start_files.plain.start, chain.start_files.plain.fixup]
    return ", ".join(files) or "nothing from the card"


def _rules() -> Iterator[str]:
    yield "| rule | a card that breaks it | source |"
    yield "|---|---|---|"
    for rule in RULES:
        anchor = rule.code.replace(".", "")
        yield f"| {rule.says} | [{rule.code}](../errors/firmware.md#{anchor}) | {rule.source} |"


if __name__ == "__main__":
    put(firmware_reference())
