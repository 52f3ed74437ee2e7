"""How systemd-boot and U-Boot are told to try the other slot: by a variable, and by a sector.

A folder stands for the variables; a shell function for the kernel, which shows them in it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from piimage.firmware.uboot_script import MARK
from tests.programs.appliance.scripts import Pi

LOADER = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
ONE_SHOT = f"LoaderEntryOneShot-{LOADER}"
FEATURES = f"LoaderFeatures-{LOADER}"
TRY = b"\7\0\0\0" + "try.conf\0".encode("utf-16-le")
KERNEL = """
busybox() {
	case $1 in
	mount) note "$1 $2 $3" ;;
	umount) note "$1" ;;
	mkdir) mkdir -p "$2" ;;
	reboot) note "$*" ;;
	*) command busybox "$@" ;;
	esac
}
note() { echo "$*" >>ROOT/notes; }
initctl() { note "initctl $*"; }
sync() { :; }
pidof() { :; }
"""


@pytest.fixture
def pi(tmp_path: Path) -> Pi:
    """A machine whose firmware has variables, and which systemd-boot started."""
    pi = Pi(tmp_path)
    library = pi.install_library()
    library.write_text(library.read_text() + KERNEL.replace("ROOT", str(tmp_path)))
    flag = pi.path("usr/lib/piimage/try-flag.sh")
    text = flag.read_text().replace("/proc/mounts", f"{tmp_path}/mounts")
    flag.write_text(text.replace("/proc/filesystems", f"{tmp_path}/filesystems"))
    pi.write("filesystems", "nodev\tefivarfs\n")
    pi.write("run/piimage/boot", "TRY='efi'\n")
    variables = pi.path(f"run/piimage/variables/{FEATURES}").parent
    pi.write("mounts", f"efivarfs {variables} efivarfs rw,nosuid 0 0\n")
    (variables / FEATURES).write_bytes(b"\6\0\0\0" + (0x7F).to_bytes(8, "little"))
    for name in ("try-flag", "try-boot", "shutdown"):
        pi.install(name)
    return pi


def variables(pi: Pi) -> dict[str, bytes]:
    """Return the variables but those of the boot loader itself."""
    folder = pi.root / "run/piimage/variables"
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != FEATURES}


def notes(pi: Pi) -> list[str]:
    path = pi.root / "notes"
    return path.read_text().splitlines() if path.exists() else []


def test_asking_writes_nothing_and_leaves_nothing_mounted(pi: Pi) -> None:
    done = pi.run("try-flag", "check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert notes(pi) == ["mount -t efivarfs", "umount"]
    assert variables(pi) == {}


def test_a_probe_is_written_read_back_and_removed(pi: Pi) -> None:
    """Attributes without a value remove a variable: a file shows them, the kernel does not."""
    done = pi.run("try-flag", "probe")
    assert (done.returncode, done.stdout) == (0, "")
    ((name, content),) = variables(pi).items()
    assert name.startswith("PiimageProbe-")
    assert content == TRY + b"\7\0\0\0"


def test_a_probe_that_an_earlier_one_left_is_proof_enough(pi: Pi) -> None:
    pi.run("try-flag", "probe")
    ((name, _),) = variables(pi).items()
    probe = pi.root / "run/piimage/variables" / name
    probe.write_bytes(TRY)
    probe.chmod(0o400)
    assert pi.run("try-flag", "probe").returncode == 0
    assert probe.read_bytes() == TRY


def test_the_variable_is_written_last_of_all(pi: Pi) -> None:
    assert pi.run("try-boot").returncode == 0
    assert ONE_SHOT not in variables(pi)
    assert notes(pi)[-1].startswith("initctl reboot")
    pi.sh(f"export FINIT_SHUTDOWN=reboot; . {pi.root}/usr/lib/piimage/shutdown")
    assert variables(pi)[ONE_SHOT] == TRY
    assert notes(pi)[-3:] == ["mount -t efivarfs", "umount", "reboot -f"]


def test_an_ordinary_restart_writes_no_variable(pi: Pi) -> None:
    pi.sh(f"export FINIT_SHUTDOWN=reboot; . {pi.root}/usr/lib/piimage/shutdown")
    assert variables(pi) == {}
    assert notes(pi)[-1] == "reboot -f"


def test_a_try_that_was_ordered_before_is_ordered_already(pi: Pi) -> None:
    """The kernel lets nobody open the variable a second time."""
    variable = pi.root / "run/piimage/variables" / ONE_SHOT
    variable.write_bytes(TRY)
    script = f". {pi.root}/usr/lib/piimage/lib.sh; . {pi.root}/usr/lib/piimage/try-flag.sh"
    assert pi.sh(f"{script}; TRY=efi; set_try_flag && echo set") == "set\n"
    variable.unlink()
    variable.mkdir()
    assert pi.sh(f"{script}; TRY=efi; set_try_flag || echo $REPLY").startswith(
        "the variable Loader"
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("rm ROOT/filesystems", "its file needs slots: { updates: true }"),
        ("busybox() { [ $1 = grep ]; }", "has no variables that a system can use"),
        ("sed -i s/rw/ro/ ROOT/mounts", "cannot be changed"),
        (f"rm ROOT/run/piimage/variables/{FEATURES}", "was not started by systemd-boot"),
        (
            f"printf '\\6\\0\\0\\0\\7' >ROOT/run/piimage/variables/{FEATURES}",
            "does not know LoaderEntryOneShot",
        ),
    ],
)
@pytest.mark.parametrize("verb", ["check", "probe"])
def test_a_machine_that_cannot_be_told_says_why(
    pi: Pi, change: str, reason: str, verb: str
) -> None:
    library = pi.path("usr/lib/piimage/lib.sh")
    library.write_text(f"{library.read_text()}\n{change.replace('ROOT', str(pi.root))}\n")
    done = pi.run("try-flag", verb)
    assert done.returncode == 1
    assert reason in done.stdout
    assert variables(pi) == {}
    done = pi.run("try-boot")
    assert done.returncode == 1
    assert reason in done.stderr
    assert not [note for note in notes(pi) if note.startswith("initctl")]


def test_a_firmware_that_keeps_nothing_is_noticed_before_anything_stops(pi: Pi) -> None:
    flag = pi.path("usr/lib/piimage/try-flag.sh")
    text = flag.read_text()
    assert "$VARIABLES/PiimageProbe-$OWN" in text
    flag.write_text(text.replace("$VARIABLES/PiimageProbe-$OWN", "/dev/null"))
    done = pi.run("try-boot")
    assert done.returncode == 1
    assert "does not keep a variable" in done.stderr
    assert pi.run("try-flag", "check").returncode == 0


def test_u_boot_is_told_by_a_mark_in_a_sector(pi: Pi) -> None:
    card = pi.path("dev/sdx1")
    card.write_bytes(b"\xaa" * 40 * 512)
    pi.write("run/piimage/boot", f"TRY='sector'\nPIIMAGE_DISK='{pi.root}/dev/sdx'\n")
    pi.write("run/piimage/slot/boot.scr", "")
    for verb in ("check", "probe"):
        assert pi.run("try-flag", verb).returncode == 0
    assert pi.run("try-boot").returncode == 0
    assert card.read_bytes() == b"\xaa" * 40 * 512
    pi.sh(f"export FINIT_SHUTDOWN=reboot; . {pi.root}/usr/lib/piimage/shutdown")
    data = card.read_bytes()
    assert data[16 * 512 : 17 * 512] == MARK.ljust(512, b"\0")
    assert data[: 16 * 512] + data[17 * 512 :] == b"\xaa" * 39 * 512
    assert pi.console() == []


def test_a_sector_that_cannot_be_written_is_said_and_the_restart_is_an_ordinary_one(
    pi: Pi,
) -> None:
    pi.write("run/piimage/boot", f"TRY='sector'\nPIIMAGE_DISK='{pi.root}/dev/mmcblk0'\n")
    pi.write("run/piimage/try-boot", "")
    pi.path("dev/mmcblk0p1/x")
    pi.sh(f"export FINIT_SHUTDOWN=reboot; . {pi.root}/usr/lib/piimage/shutdown")
    assert pi.console() == ["piimage: the flag of the try cannot be set"]
    assert notes(pi)[-1] == "reboot -f"


def test_a_card_without_the_script_of_u_boot_is_refused(pi: Pi) -> None:
    pi.write("run/piimage/boot", "TRY='sector'\n")
    done = pi.run("try-flag", "check")
    assert (done.returncode, "has no boot.scr" in done.stdout) == (1, True)


def test_a_board_whose_boot_loader_knows_no_tries_says_so(pi: Pi) -> None:
    pi.write("run/piimage/boot", "TRY='none'\n")
    done = pi.run("try-flag", "check")
    assert (done.returncode, done.stdout) == (1, "this board's boot loader knows no tries\n")


def test_a_verb_that_is_not_known_is_refused(pi: Pi) -> None:
    assert pi.run("try-flag", "set").returncode == 2


def test_a_slot_that_is_damaged_leads_to_the_other_one(pi: Pi) -> None:
    """With `verify: boot`, in the initramfs."""
    init = pi.initramfs_functions()
    text = init.read_text().replace("/proc/mounts", f"{pi.root}/mounts")
    init.write_text(text.replace("/proc/filesystems", f"{pi.root}/filesystems"))
    pi.path("state/slot/b/layers/x").write_text("")
    kernel = KERNEL.replace("ROOT", str(pi.root))
    setting = f"TRY=efi; STATE={pi.root}/state; VERIFY=1; SLOT_DISK=/dev/x; SLOT_PREFIX=a/"
    pi.sh(f". {init}; {kernel}\n{setting}; leave_slot")
    assert pi.console() == ["piimage: the other slot, b/, is next"]
    assert variables(pi)[ONE_SHOT] == TRY
