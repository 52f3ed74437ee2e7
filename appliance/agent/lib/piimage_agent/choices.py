"""The files beside the folders of two slots that name one of them, for each kind of boot loader.

The tool writes them: piimage/firmware/writer.py, systemd_boot.py, extlinux.py.
"""

from __future__ import annotations


class Choices:
    """The `files` for an ordinary start and for a try, by their paths on the first partition.

    Each begins with `start`, in which {slot} is the folder with a slash.
    """

    def __init__(self, files: tuple[str, str], start: str) -> None:
        self.files = files
        self.start = start


PI = Choices(("config.txt", "tryboot.txt"), "[all]\nos_prefix={slot}\n")
BY_KIND = {
    "tryboot": PI,
    "efi": Choices(
        ("loader/entries/current.conf", "loader/entries/try.conf"),
        "title piimage\nlinux /{slot}kernel.img\n",
    ),
    "sector": Choices(
        ("u-boot/current.env", "u-boot/try.env"),
        "piimage_kernel=/{slot}kernel.img\n",
    ),
}
"""By the board's setting TRY (`piimage_agent.arming`)."""
