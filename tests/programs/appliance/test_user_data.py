"""How the Pi looks for settings on its first partition, with a stand-in for the agent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.programs.appliance.scripts import Pi

SELECTOR = "run/piimage/first-partition"
SLOT = "run/piimage/slot"
FOUND = "say user-data line 2: x\\nsay settings of the card: host name shed"
GONE = "settings of the card: applied, and removed from the first partition:"
REMOVED = ["user-data", "network-config", "meta-data", "cmdline.txt"]


class Card:
    """A Pi with the script, whose mounts are noted; `partition` is the number of its slot."""

    def __init__(self, folder: Path, partition: int, disk: str = "/dev/mmcblk0") -> None:
        self.pi = Pi(folder)
        library = self.pi.install_library()
        noting = f'mount() {{ echo "$*" >>{folder}/mounted; [ ! -e {folder}/broken-$2 ]; }}'
        library.write_text(f"{library.read_text()}\n{noting}\n")
        self.pi.write(
            "run/piimage/boot", f"PIIMAGE_DISK='{disk}'\nPIIMAGE_SLOT_PARTITION='{partition}'\n"
        )
        self.pi.path("data/piimage/state/x")
        self.folder = SLOT if partition == 1 else SELECTOR
        self.pi.path(f"{self.folder}/autoboot.txt").touch()
        script = self.pi.install("user-data")
        agent = f"{folder}/bin/piimage-agent"
        script.write_text(script.read_text().replace("/usr/bin/piimage-agent", agent))

    def agent(self, lines: str, status: int = 0) -> None:
        self.pi.program(
            "piimage-agent",
            f"echo $* >>{self.pi.root}/called\nprintf '{lines}\\n'\n"
            f"echo applied >{self.pi.root}/data/piimage/state/user-data\nexit {status}",
        )

    def put(self, *names: str) -> None:
        for name in names:
            self.pi.write(f"{self.folder}/{name}", f"the content of {name}\n")

    def boot(self) -> list[str]:
        """Run the script; return what it printed on the console."""
        done = self.pi.run("user-data")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        lines = [line.replace(str(self.pi.root), "") for line in self.pi.console()]
        return [line.removeprefix("piimage: ") for line in lines]

    def lines(self, name: str) -> list[str]:
        path = self.pi.root / name
        text = path.read_text() if path.exists() else ""
        return text.replace(str(self.pi.root), "").splitlines()

    def files(self) -> set[str]:
        return {path.name for path in (self.pi.root / self.folder).iterdir()}


def removing(names: list[str]) -> str:
    return "\\n".join([FOUND, *(f"remove {name}" for name in names)])


@pytest.mark.parametrize("partition", [1, 2])
def test_a_card_without_settings_is_looked_at_and_no_more(tmp_path: Path, partition: int) -> None:
    card = Card(tmp_path, partition)
    card.agent(FOUND)
    assert card.boot() == []
    assert card.lines("called") == []
    options = "-t vfat -o ro,nosuid,nodev,noexec,umask=077,iocharset=cp437"
    looked = [f"{options} /dev/mmcblk0p1 /{SELECTOR}"] if partition == 2 else []
    assert card.lines("mounted") == looked
    assert card.lines("unmounted") == ([f"/{SELECTOR}"] if partition == 2 else [])


def test_the_first_partition_of_another_disk_has_a_shorter_name(tmp_path: Path) -> None:
    card = Card(tmp_path, 3, "/dev/sda")
    card.boot()
    assert card.lines("mounted")[0].split()[-2] == "/dev/sda1"


@pytest.mark.parametrize("partition", [1, 2])
def test_settings_are_applied_and_the_files_removed(tmp_path: Path, partition: int) -> None:
    card = Card(tmp_path, partition)
    card.put(*REMOVED)
    card.agent(removing(REMOVED))
    assert card.boot() == [
        "user-data line 2: x",
        "settings of the card: host name shed",
        f"{GONE} user-data network-config meta-data cmdline.txt",
    ]
    assert card.lines("called") == [f"seed /{card.folder}"]
    assert card.files() == {"autoboot.txt"}
    remounts = [line for line in card.lines("mounted") if "remount" in line]
    assert remounts == [f"-o remount,rw /{card.folder}", f"-o remount,ro /{card.folder}"]
    assert not (tmp_path / "data/piimage/state/user-data").exists()
    assert not (tmp_path / "run/piimage/user-data").exists()


def test_a_file_is_overwritten_before_it_is_deleted(tmp_path: Path) -> None:
    card = Card(tmp_path, 1)
    card.put("user-data")
    file = tmp_path / SLOT / "user-data"
    (tmp_path / "kept").hardlink_to(file)  # the file's content, seen after its name is gone
    size = file.stat().st_size
    card.agent(removing(["user-data"]))
    card.boot()
    assert not file.exists()
    assert (tmp_path / "kept").read_bytes() == bytes(size)


def test_an_empty_file_is_removed_as_well(tmp_path: Path) -> None:
    card = Card(tmp_path, 1)
    card.pi.write(f"{SLOT}/network-config", "")
    card.agent(removing(["network-config"]))
    assert card.boot()[-1] == f"{GONE} network-config"
    assert card.files() == {"autoboot.txt"}


def test_files_that_are_not_named_stay(tmp_path: Path) -> None:
    card = Card(tmp_path, 1)
    card.put("user-data", "network-config", "meta-data", "config.txt")
    card.agent(removing(["network-config"]))
    card.boot()
    assert card.files() == {"autoboot.txt", "user-data", "meta-data", "config.txt"}


def test_a_card_that_cannot_be_written_says_so_and_keeps_the_note(tmp_path: Path) -> None:
    card = Card(tmp_path, 2)
    card.put("user-data")
    card.agent(removing(["user-data"]))
    (tmp_path / "broken-remount,rw").touch()
    assert card.boot()[-1] == (
        "settings of the card: applied, but the card cannot be written: the files are still on it"
    )
    assert "user-data" in card.files()
    assert (tmp_path / "data/piimage/state/user-data").exists()


def test_a_file_that_cannot_be_deleted_is_named_and_the_note_stays(tmp_path: Path) -> None:
    card = Card(tmp_path, 1)
    card.put("user-data")
    card.agent(removing(["user-data"]))
    script = tmp_path / "usr/lib/piimage/user-data"
    script.write_text(script.read_text().replace('\trm "$1"', "\tfalse"))
    assert card.boot()[-1] == (
        "settings of the card: applied, but these files cannot be removed: user-data"
    )
    assert (tmp_path / "data/piimage/state/user-data").exists()


def test_with_a_temporary_data_partition_the_files_stay(tmp_path: Path) -> None:
    card = Card(tmp_path, 1)
    card.put("user-data")
    card.agent(removing(["user-data"]))
    card.pi.write("run/piimage/data-is-temporary", "")
    assert card.boot()[-1] == "settings of the card: the files stay, because /data is temporary"
    assert "user-data" in card.files()


def test_a_card_without_the_agent_says_that_nothing_reads_the_file(tmp_path: Path) -> None:
    card = Card(tmp_path, 1)
    card.put("network-config")
    assert card.boot() == [
        "settings of the card: nothing on this Pi reads them: its file has no use: sshd"
    ]
    assert "network-config" in card.files()


def test_a_program_that_fails_is_told_and_removes_nothing(tmp_path: Path) -> None:
    card = Card(tmp_path, 1)
    card.put("user-data")
    card.agent("say settings of the card: no space", status=1)
    assert card.boot() == [
        "settings of the card: no space", "settings of the card: not applied (exit code 1)",
    ]  # fmt: skip
    assert "user-data" in card.files()


def test_a_name_with_the_ending_of_windows_editors_is_named(tmp_path: Path) -> None:
    card = Card(tmp_path, 1)
    card.put("user-data.txt")
    assert card.boot() == ["user-data.txt: is not read: its name has to be user-data"]


def test_a_file_on_the_slot_of_a_board_with_a_selector_is_named(tmp_path: Path) -> None:
    card = Card(tmp_path, 2)
    card.pi.write(f"{SLOT}/network-config", "")
    assert card.boot() == [
        "network-config: is not read: it belongs on the first partition, not on partition 2"
    ]


def test_a_first_partition_that_does_not_mount_is_told(tmp_path: Path) -> None:
    card = Card(tmp_path, 2)
    (tmp_path / "broken-vfat").touch()
    assert card.boot() == ["settings of the card: the first partition cannot be read"]


def test_an_image_without_a_disk_has_nothing_to_look_at(tmp_path: Path) -> None:
    card = Card(tmp_path, 1, disk="")
    card.put("user-data")
    card.agent(FOUND)
    assert card.boot() == []


def test_the_cards_address_comes_before_that_of_the_image(tmp_path: Path) -> None:
    pi = Pi(tmp_path)
    pi.install_library()
    script = pi.install_functions("boot")
    pi.path("usr/lib/piimage/network").write_text(f'#!/bin/sh\necho "$1" >>{pi.root}/called\n')
    pi.path("usr/lib/piimage/network").chmod(0o755)
    run = f". {script}; set_up_network"
    pi.sh(run)
    assert not (pi.root / "called").exists()
    pi.write("etc/piimage/network", "")
    pi.sh(run)
    pi.write("data/piimage/provision/network", "")
    pi.sh(run)
    files = [line.removeprefix(str(pi.root)) for line in (pi.root / "called").read_text().split()]
    assert files == ["/etc/piimage/network", "/data/piimage/provision/network"]
