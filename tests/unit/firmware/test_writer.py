from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piimage.boards import board_names, load_board
from piimage.errors import InputError, PiimageError
from piimage.firmware import writer
from piimage.firmware.config import Conditions, parse
from piimage.firmware.reader import read_card
from piimage.firmware.settings import fault
from piimage.firmware.writer import Boot
from piimage.run import Runner
from tests.branches import QUICK, at_least
from tests.unit.firmware.cards import BASE, KERNEL, blob, card, firmware_of

PLAIN = Boot()


def test_autoboot_is_golden_and_never_changes_its_size() -> None:
    expected = "[all]\ntryboot_a_b=1\nboot_partition=2\n"
    both = expected + "[tryboot]\nboot_partition=3\n"
    assert writer.autoboot(2) == expected + (128 - len(expected)) * "\n"
    assert writer.autoboot(2, 3) == both + (128 - len(both)) * "\n"


def test_the_config_of_a_pi_4_is_golden() -> None:
    boot = Boot(
        (("gpio", "4=op,dh"), ("hdmi_blanking", "2"), ("gpio", "17=ip,pu"), ("dtparam", "a=on")),
        ("i2c1", "spi0"),
    )
    assert writer.config(load_board("pi4"), boot).splitlines() == [
        "# Written by piimage; add to boot: in the YAML.",
        "[all]",
        "arm_64bit=1",
        "enable_uart=1",
        "gpu_mem=32",
        "kernel=kernel.img",
        "initramfs initramfs.img followkernel",
        "device_tree=bcm2711-rpi-4-b.dtb",
        "[all]",
        "[pi400]",
        "device_tree=bcm2711-rpi-400.dtb",
        "[all]",
        "[cm4]",
        "device_tree=bcm2711-rpi-cm4-io.dtb",
        "[all]",
        "dtoverlay=disable-bt",
        "dtoverlay=numbers",
        "dtoverlay=i2c1",
        "dtoverlay=spi0",
        "gpio=4=op,dh",
        "hdmi_blanking=2",
        "gpio=17=ip,pu",
        "dtparam=a=on",
    ]


@pytest.mark.parametrize(
    ("board", "models", "tree"),
    [
        ("pi4", {"pi4"}, "bcm2711-rpi-4-b.dtb"),
        ("pi4", {"pi4", "pi400"}, "bcm2711-rpi-400.dtb"),
        ("pi4", {"pi4", "cm4"}, "bcm2711-rpi-cm4-io.dtb"),
        ("pi3", {"pi3"}, "bcm2837-rpi-3-b.dtb"),
        ("pi3", {"pi3", "pi3+"}, "bcm2837-rpi-3-b-plus.dtb"),
        ("zero2w", {"pi0", "pi02"}, "bcm2837-rpi-zero-2-w.dtb"),
        ("pi5", {"pi5"}, "bcm2712-rpi-5-b.dtb"),
    ],
)
def test_each_model_gets_its_device_tree(board: str, models: set[str], tree: str) -> None:
    text = writer.config(load_board(board), PLAIN).encode()
    settings = parse(text, "config.txt", Conditions(frozenset(models)))
    assert settings.text("device_tree") == tree
    assert settings.number("arm_64bit", 0) == 1
    assert settings.remarks == ()


def test_an_overlay_of_the_board_can_be_removed_and_none_comes_twice() -> None:
    pi4 = load_board("pi4")
    always = ("disable-bt", "numbers")
    assert writer.applied_overlays(pi4, PLAIN) == always
    without = Boot(overlays=("-disable-bt", "i2c1", "i2c1"))
    assert writer.applied_overlays(pi4, without) == ("numbers", "i2c1")
    assert writer.applied_overlays(pi4, Boot(overlays=("disable-bt",))) == always


def test_boards_that_select_a_partition_get_only_autoboot() -> None:
    assert writer.root_files(load_board("pi5"), PLAIN) == {"autoboot.txt": writer.autoboot(2)}


def test_the_other_boards_get_two_files_that_select_a_folder() -> None:
    # The settings of the first stage cannot be in an included file.
    files = writer.root_files(load_board("pi3"), Boot((("start_x", "1"), ("gpu_mem", "32"))))
    assert files == {
        "config.txt": "[all]\nos_prefix=a/\ngpu_mem=32\nstart_x=1\ninclude a/config.txt\n".ljust(
            512, "\n"
        ),
        "tryboot.txt": (
            "[all]\nos_prefix=b/\ngpu_mem=32\nstart_x=1\ninclude b/config.txt\n"
            "[all]\ncmdline=trycmd.txt\n"
        ).ljust(512, "\n"),
    }


def test_the_command_line_has_the_words_of_board_slot_and_user_in_this_order() -> None:
    board = load_board("pi3").model_copy(update={"cmdline": ("console=ttyAMA0,115200", "quiet")})
    line = writer.cmdline(board, Boot(cmdline=("panic=5",)), 0xBEEF, prefix="a/")
    words = "console=ttyAMA0,115200 quiet piimage.disk-id=0000beef piimage.prefix=a/ panic=5"
    assert line == words + "\n"


def test_every_board_restarts_after_a_panic() -> None:
    for name in board_names():
        assert "panic=10" in writer.cmdline(load_board(name), PLAIN, 1).split()


@pytest.mark.parametrize("tryboot", [False, True])
def test_the_reader_reads_the_written_files(runner: Runner, tmp_path: Path, tryboot: bool) -> None:
    board = load_board("zero2w")
    bare = Boot(overlays=tuple(f"-{name}" for name in board.overlays.always))
    files = {name: text.encode() for name, text in writer.root_files(board, PLAIN).items()}
    files |= firmware_of("zero2w")
    for prefix in ("a/", "b/"):
        files |= {
            f"{prefix}config.txt": writer.config(board, bare).encode(),
            f"{prefix}cmdline.txt": writer.cmdline(board, PLAIN, 1, prefix=prefix).encode(),
            **{
                f"{prefix}{name}": text.encode()
                for name, text in writer.folder_files(board, PLAIN, 1, prefix).items()
            },
            f"{prefix}{writer.KERNEL}": KERNEL,
            f"{prefix}{writer.INITRAMFS}": b"initramfs",
            f"{prefix}bcm2837-rpi-zero-2-w.dtb": blob(BASE),
        }
    image = card(runner, tmp_path / "card.img", files)
    booted = read_card(image, board, runner, tryboot=tryboot)
    assert booted.prefix == ("b/" if tryboot else "a/")
    assert f"piimage.prefix={booted.prefix}" in booted.cmdline
    assert ("piimage.try=1" in booted.cmdline.split()) == tryboot
    assert booted.remarks == ()


@pytest.mark.provokes("firmware.bad-setting")
@pytest.mark.parametrize(
    "line",
    [
        ("Kernel", "x"), ("kernel", "x"), ("os_prefix", "x"), ("dtoverlay", "i2c1"), ("a b", "1"),
        ("Gpu_Mem", "32"), ("a-b", "1"), ("[pi4]", ""), ("a", "1\nb=2"), ("a", "ü"),
        ("enable_uart", "true"), ("camera_auto_detect", "No"), ("hdmi_mode:2", "1"), ("x:1", "1"),
        ("decode_mpg9X", "1"),
    ],
)  # fmt: skip
def test_a_setting_that_config_txt_does_not_allow_is_refused(line: tuple[str, str]) -> None:
    with pytest.raises(InputError) as caught:
        writer.config(load_board("pi4"), Boot((line,)))
    assert caught.value.code == "firmware.bad-setting"
    with pytest.raises(InputError) as caught:
        writer.prefix_config(load_board("zero2w"), Boot((line,)), "a/")
    assert caught.value.code == "firmware.bad-setting"


@pytest.mark.parametrize(
    ("key", "value", "of_value"),
    [("kernel", "x", False), ("dtoverlay", "x", True), ("A b", "x", False), ("a", "ü", True)],
)
def test_a_fault_points_at_the_key_or_at_the_value(key: str, value: str, of_value: bool) -> None:
    setting_fault = fault(key, value)
    assert setting_fault is not None
    assert setting_fault.of_value is of_value


@pytest.mark.parametrize("line", [("hdmi_mode:1", "4"), ("decode_MPG2", "0x1"), ("a", "trueish")])
def test_a_setting_with_the_firmwares_spelling_is_written_and_read(
    line: tuple[str, str],
) -> None:
    text = writer.config(load_board("pi4"), Boot((line,)))
    settings = parse(text.encode(), "config.txt", Conditions(frozenset({"pi4"})))
    assert settings.text(line[0].lower()) == line[1]
    assert settings.remarks == ()


@pytest.mark.provokes("firmware.unknown-overlay")
@pytest.mark.parametrize("name", ["i2c_arm", "-nonesuch", "../x", ""])
def test_an_unknown_overlay_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(InputError, match="spi0") as caught:
        writer.config(load_board("pi4"), Boot(overlays=(name,)))
    assert caught.value.code == "firmware.unknown-overlay"


@pytest.mark.provokes("firmware.unknown-overlay")
def test_the_error_of_a_board_without_overlays_lists_none() -> None:
    with pytest.raises(InputError, match="the board's overlays are: none"):
        writer.config(load_board("qemu-virt"), Boot(overlays=("spi0",)))


@pytest.mark.parametrize("board", ["pi3", "pi4", "pi5", "zero2w"])
def test_a_screen_is_prepared_for_whoever_asks_for_it(board: str) -> None:
    plain = writer.config(load_board(board), Boot((("hdmi_group", "1"),)))
    assert "hdmi_force_hotplug" not in plain
    lines = writer.config(load_board(board), Boot((("hdmi_group", "1"),), screen=True)).splitlines()
    assert "hdmi_force_hotplug=1" in lines
    assert lines[-1] == "hdmi_group=1"  # what the file says counts
    words = writer.cmdline(load_board(board), Boot(cmdline=("x=1",), screen=True), 1).split()
    assert words[-2:] == ["clk_ignore_unused", "x=1"]
    assert "clk_ignore_unused" not in writer.cmdline(load_board(board), Boot(), 1)
    # The firmware makes no framebuffer if an overlay of vc4's is applied.
    assert not [line for line in lines if line.startswith("dtoverlay=vc4")]


@pytest.mark.provokes("firmware.line-too-long")
def test_a_line_that_is_too_long_for_the_firmware_is_refused() -> None:
    assert writer.config(load_board("pi4"), Boot((("a", "x" * 96),)))
    with pytest.raises(InputError) as caught:
        writer.config(load_board("pi4"), Boot((("a", "x" * 97),)))
    assert caught.value.code == "firmware.line-too-long"


@pytest.mark.provokes("firmware.bad-cmdline")
@pytest.mark.parametrize("words", [("a b",), ("a\nb",), ("",), ("ü",), ("x" * 2000,)])
def test_an_invalid_word_of_the_command_line_is_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        writer.cmdline(load_board("pi4"), Boot(cmdline=words), 1)
    assert caught.value.code == "firmware.bad-cmdline"


@pytest.mark.provokes("firmware.bad-cmdline")
def test_a_command_line_has_1024_characters() -> None:
    """COMMAND_LINE_SIZE would be 2048 on arm64; the firmware adds words of its own."""
    board = load_board("pi4")
    room = 1024 - len(writer.cmdline(board, PLAIN, 1).rstrip("\n")) - 1
    assert len(writer.cmdline(board, Boot(cmdline=("x" * room,)), 1)) == 1024 + 1
    with pytest.raises(InputError, match="has 1025 characters; the limit is 1024"):
        writer.cmdline(board, Boot(cmdline=("x" * (room + 1),)), 1)


def test_what_the_first_stage_reads_is_beside_the_slots() -> None:
    """Documentation, "config.txt": that stage follows no include. The board's own come first."""
    early = (
        "bootcode_delay", "fixup_file", "gpu_mem", "gpu_mem_256", "gpu_mem_512", "gpu_mem_1024",
        "sdram_freq", "start_cd", "start_db", "start_debug", "start_file", "start_x", "total_mem",
        "uart_2ndstage",
    )  # fmt: skip
    board = load_board("pi3").model_copy(update={"config": ("gpu_mem=16", "audio=1")})
    boot = Boot(tuple((key, "7") for key in (*early, "hdmi_mode")))
    assert writer.prefix_config(board, boot, "a/").rstrip("\n").splitlines() == [
        "[all]", "os_prefix=a/", "gpu_mem=7",
        *(f"{key}=7" for key in early if key != "gpu_mem"), "include a/config.txt",
    ]  # fmt: skip


@pytest.mark.provokes("firmware.bad-setting")
def test_what_the_first_stage_reads_has_to_fit_into_a_sector() -> None:
    board, boot = load_board("pi3"), Boot((("start_file", "s" * 80), ("fixup_file", "f" * 80)))
    assert len(writer.prefix_config(board, boot, "a/", tried=True)) == 512
    names = ("sdram_freq", "total_mem", "uart_2ndstage", "bootcode_delay")
    boot = Boot((*boot.config, *((name, "7" * 80) for name in names)))
    with pytest.raises(InputError, match="have 634 bytes; the limit is 512") as caught:
        writer.prefix_config(board, boot, "a/", tried=True)
    assert caught.value.code == "firmware.bad-setting"


def test_a_folder_has_what_selects_it() -> None:
    board, boot = load_board("zero2w"), Boot(cmdline=("panic=5",))
    files = writer.folder_files(board, boot, 0xBEEF, "b/")
    root = writer.root_files(board, boot)
    assert files["try.txt"] == root["tryboot.txt"]
    assert files["select.txt"] == root["config.txt"].replace("a/", "b/")
    assert files["trycmd.txt"].endswith(" piimage.prefix=b/ panic=5 piimage.try=1\n")


def test_all_faults_are_reported_at_once() -> None:
    with pytest.raises(PiimageError) as caught:
        writer.config(load_board("pi4"), Boot((("kernel", "1"), ("a b", "2")), ("x",)))
    assert len(str(caught.value).splitlines()) == 3


SETTINGS = st.lists(
    st.tuples(
        st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True) | st.sampled_from(["gpio", "a_1"]),
        st.integers().map(str)
        | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60),
    ),
    max_size=4,
)


@pytest.mark.slow
def test_the_firmware_reads_accepted_settings_unchanged() -> None:
    """Valid settings, sometimes with an odd one; keys may repeat."""

    def run(outcomes: Counter[str]) -> None:
        odd = st.tuples(st.text(max_size=8), st.text(max_size=100))

        @QUICK
        @given(SETTINGS, st.none() | st.none() | st.none() | odd)
        def any_setting(config: list[tuple[str, str]], odd: tuple[str, str] | None) -> None:
            lines = [*config, *([odd] if odd else [])]
            try:
                text = writer.config(load_board("pi4"), Boot(tuple(lines)))
            except PiimageError as error:
                assert error.exit_code == 2
                outcomes["refused"] += 1
                return
            settings = parse(text.encode(), "config.txt", Conditions(frozenset({"pi4"})))
            assert settings.remarks == ()
            own = {"dtoverlay", "arm_64bit", "enable_uart", "gpu_mem", "kernel", "device_tree"}
            kept = [(item.name, item.value) for item in settings.items if item.name not in own]
            assert kept[1:] == [(key, value.strip()) for key, value in lines if key not in own]
            outcomes["accepted"] += 1

        any_setting()

    at_least({"refused": 10, "accepted": 30}, run)
