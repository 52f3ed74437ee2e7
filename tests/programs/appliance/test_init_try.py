"""What the initramfs does in a try that fails or hangs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.programs.appliance.scripts import Pi


@pytest.fixture
def pi(tmp_path: Path) -> Pi:
    return Pi(tmp_path)


FAILING = """
. {init}; load_settings
ROOT={root}/new SLOT_DISK=/dev/mmcblk0 TRYBOOT={tried} ON_FAILURE={ending}
bb() {{
	case $1 in
	mount) [ {data} = there ] && mkdir -p "$ROOT/data/piimage/system" ;;
	reboot | poweroff) echo "$1"; exit ;;
	sleep | sync) ;;
	*) busybox "$@" ;;
	esac
}}
fail layer 1 is missing
"""


def _failed(pi: Pi, tried: int, ending: str, data: str = "there") -> str:
    """Return how a boot that fails ends."""
    init = pi.initramfs_functions()
    pi.path("dev/console")
    values = {"init": init, "root": pi.root, "tried": tried, "ending": ending, "data": data}
    return pi.sh(FAILING.format(**values)).strip()


@pytest.mark.parametrize(
    ("line", "selector", "tried"),
    [
        ("quiet piimage.prefix=b/ piimage.try=1", 0, "1"),
        ("quiet piimage.prefix=b/", 0, "0"),
        ("quiet piimage.try=1", 1, "0"),  # such a boot loader says so in the device tree
    ],
)
def test_a_boot_loader_that_chooses_a_folder_tells_of_a_try_by_the_command_line(
    pi: Pi, line: str, selector: int, tried: str
) -> None:
    init = pi.initramfs_functions()
    init.write_text(init.read_text().replace("/proc/", f"{pi.root}/proc/"))
    pi.write("proc/cmdline", f"{line}\n")
    script = f". {init}; load_settings; SELECTOR={selector}; read_command_line; notice_trial"
    assert pi.sh(f"{script}; echo $TRYBOOT") == f"{tried}\n"


def test_a_try_that_fails_leaves_the_cause_under_data_and_restarts(pi: Pi) -> None:
    assert _failed(pi, 1, "reboot") == "reboot"
    trail = pi.root / "new/data/piimage/system/trail"
    assert trail.read_text() == "failed: layer 1 is missing\n"


def test_a_try_never_halts(pi: Pi) -> None:
    assert _failed(pi, 1, "halt") == "reboot"
    assert _failed(pi, 0, "halt") == "poweroff"


def test_a_try_without_data_restarts_all_the_same(pi: Pi) -> None:
    assert _failed(pi, 1, "reboot", "gone") == "reboot"
    assert not (pi.root / "new/data/piimage").exists()


def test_an_ordinary_boot_that_fails_leaves_nothing(pi: Pi) -> None:
    assert _failed(pi, 0, "reboot") == "reboot"
    assert not (pi.root / "new").exists()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("TRYBOOT=1 WATCHDOG=watchdog0", ["watchdog -F -T 90 -t 3600 {dog}", "killed"]),
        ("TRYBOOT=0 WATCHDOG=watchdog0", []),
        ("TRYBOOT=1 WATCHDOG=", []),
        ("TRYBOOT=1 WATCHDOG=watchdog9", []),
    ],
)
def test_a_try_starts_the_watchdog_and_leaves_it_to_process_1(
    pi: Pi, settings: str, told: list[str]
) -> None:
    init = pi.initramfs_functions()
    # The watchdog is a file here, and what feeds it a program of its own.
    text = init.read_text().replace("/dev/$WATCHDOG", f"{pi.root}/dev/$WATCHDOG")
    text = text.replace("[ -c ", "[ -f ").replace(
        "busybox watchdog", f"{pi.root}/bin/feeder watchdog"
    )
    init.write_text(text)
    dog = pi.write("dev/watchdog0", "")
    pi.program("feeder", f'exec 3>"{dog}"; echo "$*" >{pi.root}/fed; exec sleep 60')
    gone = "[ $? -ne 137 ] || echo killed"
    shown = pi.sh(f'. {init}; bb() {{ busybox "$@"; }}; {settings}; arm_watchdog; {gone}')
    fed = pi.root / "fed"
    lines = fed.read_text().splitlines() if fed.exists() else []
    assert [*lines, *shown.splitlines()] == [line.format(dog=dog) for line in told]


def test_a_version_is_not_tried_without_data(pi: Pi) -> None:
    init = pi.initramfs_functions()
    pi.path("run/piimage/x")
    stub = 'case $1 in mount) false ;; reboot) echo "$1"; exit ;; sleep) ;; *) busybox "$@" ;; esac'
    script = (
        f". {init}; load_settings; ROOT={pi.root}/new; bb() {{ {stub}; }}; TRYBOOT=1; mount_data"
    )
    assert pi.sh(f"{script}; echo went on").strip() == "reboot"
    told = [line.replace(str(pi.root), "") for line in pi.console()]
    assert "piimage: BOOT FAILED: a version cannot be tried without /data" in told
