"""Draw the diagrams of docs/how-it-works.md as SVG pictures, light and dark.

    .venv/bin/python scripts/draw_diagrams.py docs/images

The sizes of partitions come from the board files, so the pictures cannot contradict them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Final

from piimage.board import PrefixLayout, SelectorLayout
from piimage.boards import load_board

_WIDTH: Final = 560  # narrow enough to be read on a phone
_STYLE: Final = """
    .page { fill: #ffffff; stroke: #d1d9e0 }
    .box { fill: #f6f8fa; stroke: #818b98 }
    .strong { fill: #ddf4ff; stroke: #0969da }
    .empty { fill: none; stroke: #818b98; stroke-dasharray: 5 4 }
    .arrow { fill: none; stroke: #59636e; stroke-width: 1.5 }
    .head { fill: #59636e }
    text { fill: #1f2328; font: 14px system-ui, "DejaVu Sans", Helvetica, Arial, sans-serif }
    .title { font-weight: bold }
    .note { fill: #59636e; font-size: 13px }
    @media (prefers-color-scheme: dark) {
      .page { fill: #0d1117; stroke: #3d444d }
      .box { fill: #1c2129; stroke: #656c76 }
      .strong { fill: #10233d; stroke: #4493f8 }
      .empty { stroke: #656c76 }
      .arrow { stroke: #9198a1 }
      .head { fill: #9198a1 }
      text { fill: #e6edf3 }
      .note { fill: #9198a1 }
    }
"""


def _picture(title: str, height: int, parts: Sequence[str]) -> str:
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}"'
        f' width="{_WIDTH}" height="{height}" role="img">',
        f"  <title>{escape(title)}</title>",
        f"  <style>{_STYLE}  </style>",
        f'  <rect class="page" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1}" rx="8"/>',
        *(f"  {part}" for part in parts),
        "</svg>",
        "",
    ])  # fmt: skip


def _text(x: float, y: float, content: str, style: str = "", anchor: str = "start") -> str:
    name = f' class="{style}"' if style else ""
    return f'<text{name} x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(content)}</text>'


def _box(
    x: int, y: int, width: int, height: int, title: str, *notes: str, style: str = "box"
) -> str:
    """Draw a box with centred lines in its middle: a title, and notes below it."""
    middle, first = x + width / 2, y + height / 2 + 5 - 9 * len(notes)
    lines = [_text(middle, first, title, "title", "middle")]
    lines += [
        _text(middle, first + 18 * number, note, "note", "middle")
        for number, note in enumerate(notes, 1)
    ]
    frame = f'<rect class="{style}" x="{x}" y="{y}" width="{width}" height="{height}" rx="5"/>'
    return "\n  ".join([frame, *lines])


def _arrow(x: int, top: int, bottom: int) -> str:
    return (
        f'<path class="arrow" d="M{x} {top}V{bottom - 7}"/>'
        f'<path class="head" d="M{x - 5} {bottom - 8}h10l-5 8z"/>'
    )


def flow() -> str:
    """Draw the way from the inputs to a card."""
    plan = "a graph of steps: layers, kernel, initramfs"
    uses = (
        "piimage run and test: the same image in QEMU",
        "piimage flash: a card   ·   piimage deploy: only the new layers",
    )
    return _picture("From a YAML file to a card", 512, [
        _box(20, 20, 160, 64, "greenhouse.yml", "what you want"),
        _box(200, 20, 160, 64, "greenhouse.lock", "versions and digests"),
        _box(380, 20, 160, 64, "boards/pi4.yml", "the hardware"),
        *(_arrow(x, 84, 112) for x in (100, 280, 460)),
        _box(20, 112, 520, 64, "Plan", plan, style="strong"),
        _arrow(145, 176, 204),
        _arrow(415, 176, 204),
        _box(20, 204, 250, 64, "Fetch", "packages, wheels and images", "that the lock names"),
        _box(290, 204, 250, 64, "Build", "each step whose result", "is not in the store"),
        _arrow(145, 268, 296),
        _arrow(415, 268, 296),
        _box(20, 296, 520, 64, "Store", "every file under its SHA-256 digest"),
        _arrow(145, 360, 388),
        _arrow(415, 360, 388),
        _box(20, 388, 250, 64, "greenhouse.img", "the card image", style="strong"),
        _box(290, 388, 250, 64, "Records", "block map, manifest,", "bills of materials (SBOM)"),
        *(_text(280, 478 + 19 * row, use, "note", "middle") for row, use in enumerate(uses)),
    ])  # fmt: skip


def card() -> str:
    """Draw the two layouts of a card, with the sizes of the board files."""
    selector, prefix = load_board("pi4").layout, load_board("pi3").layout
    assert isinstance(selector, SelectorLayout)  # noqa: S101
    assert isinstance(prefix, PrefixLayout)  # noqa: S101
    first = f"FAT, {selector.selector_mib} MiB: autoboot.txt names the slot to boot"
    slot = f"FAT, {selector.slot_mib} MiB"
    firmware = f"FAT, {prefix.firmware_mib} MiB: firmware, and config.txt with the folder to boot"
    grows = "grows to the end of the card at the first boot"
    return _picture("The partitions of a card", 612, [
        _text(20, 34, "Raspberry Pi 4 and 5: four partitions", "title"),
        _box(20, 50, 520, 46, "1  Selector", first),
        _box(20, 102, 520, 82, "2  Slot A", f"{slot}: firmware, device trees, kernel, initramfs,",
             "config.txt, and the layers of the system and the containers", style="strong"),
        _box(20, 190, 520, 46, "3  Slot B", f"{slot}: empty until an update of the system",
             style="empty"),
        _box(20, 242, 520, 64, "4  Data", f"ext4, {selector.data_mib} MiB, {grows}:",
             "/data, deployed containers, settings of this card"),
        _text(20, 348, "Raspberry Pi 3 and Zero 2 W: two partitions", "title"),
        _box(20, 364, 520, 46, "1  System", firmware),
        _box(20, 410, 260, 64, "Folder a/", "kernel, initramfs,", "config.txt, layers",
             style="strong"),
        _box(280, 410, 260, 64, "Folder b/", "not there: for another", "version of the system",
             style="empty"),
        _box(20, 480, 520, 64, "2  Data", f"ext4, {prefix.data_mib} MiB, {grows}:",
             "/data, deployed containers, settings of this card"),
        _text(280, 574, "The partition table (MBR) contains a disk id.", "note", "middle"),
        _text(280, 592, "The system finds its own disk by this id.", "note", "middle"),
    ])  # fmt: skip


def layers() -> str:
    """Draw how two containers share the files of their layers."""
    explanation = (
        "Each box is one squashfs file in the slot. Layers with the same content",
        "have the same digest, so the card has them only once.",
    )
    return _picture("Two containers and their layers", 348, [
        _text(145, 34, "bmp280", "title", "middle"),
        _text(415, 34, "envirophat", "title", "middle"),
        _box(20, 46, 250, 46, "Project", "bmp280, a few kB", style="strong"),
        _box(290, 46, 250, 46, "Project", "envirophat, a few kB", style="strong"),
        _box(20, 96, 520, 46, "Project", "sensorkit, 60 kB"),
        _box(20, 146, 520, 46, "Wheels", "smbus2, paho-mqtt, prometheus-client, PyYAML, h11, 1 MB"),
        _box(20, 196, 250, 46, "Packages", "0.2 MB", style="strong"),
        _box(290, 196, 250, 46, "Packages", "1.1 MB", style="strong"),
        _box(20, 246, 520, 46, "Base", "Python, 11 MB"),
        *(_text(280, 312 + 18 * row, line, "note", "middle")
          for row, line in enumerate(explanation)),
    ])  # fmt: skip


def updates() -> str:
    """Draw the states of an update of the system."""
    undone = ("the boot loader starts the old slot;", "the cause is in `piimage status`")
    return _picture("The states of an update", 560, [
        _box(20, 20, 300, 56, "receiving", "the other slot is written and read back"),
        _arrow(170, 76, 104),
        _box(20, 104, 300, 56, "written", "complete; nothing boots it"),
        _arrow(170, 160, 188),
        _box(20, 188, 300, 56, "armed", "the next start is a try of the other slot"),
        _arrow(170, 244, 272),
        _box(20, 272, 300, 74, "trying", "the new version runs; it waits for its",
             "services and for the tool", style="strong"),
        _arrow(170, 346, 374),
        _box(20, 374, 300, 74, "kept", "one sector of autoboot.txt was written:",
             "from now on this slot boots", style="strong"),
        _box(360, 188, 180, 158, "undone", "old slot, cause noted"),
        '<path class="arrow" d="M320 216H353"/><path class="head" d="M352 211v10l8-5z"/>',
        '<path class="arrow" d="M320 309H353"/><path class="head" d="M352 304v10l8-5z"/>',
        *(_text(280, 484 + 19 * row, line, "note", "middle") for row, line in enumerate((
            "A panic, a hang, a power cut or a missed deadline leads to undone:", *undone,
        ))),
    ])  # fmt: skip


DIAGRAMS: Final[dict[str, Callable[[], str]]] = {
    "flow.svg": flow,
    "card.svg": card,
    "layers.svg": layers,
    "updates.svg": updates,
}


def main() -> None:
    """Write every diagram."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="The folder to write to.")
    folder = parser.parse_args().folder
    for name, draw in DIAGRAMS.items():
        (folder / name).write_text(draw())


if __name__ == "__main__":
    main()
