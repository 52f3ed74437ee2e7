"""What a file asks for and its board has not: where it is said, and how gravely."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.boards import board_names, load_board, overlay_sources
from piimage.config.lacks import findings, refuse_lacking
from piimage.config.load import load, load_all
from piimage.errors import ErrorGroup, PiimageError
from tests.examples import examples

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIf28zgCxMFQAAteRedlUZTydCxSlcegi76+cp8HY90y"
SERVICE = "services:\n  - { name: a, image: alpine, DEVICES }\n"


def written(folder: Path, text: str) -> list[Path]:
    file = folder / "a.yml"
    file.write_text(text)
    return [file]


def refusal(folder: Path, text: str) -> PiimageError:
    file = written(folder, text)
    load_all(file)
    with pytest.raises(PiimageError) as caught:
        refuse_lacking(file, (), {})
    return caught.value


def asking(board: str, devices: str, more: str = "") -> str:
    return f"board: {board}\n" + SERVICE.replace("DEVICES", devices) + more


@pytest.mark.provokes("config.no-overlay")
@pytest.mark.parametrize("board", ["pi3", "pi4", "pi5", "zero2w"])
def test_a_device_without_its_overlay_is_refused_with_the_overlays_name(
    board: str, tmp_path: Path
) -> None:
    error = refusal(tmp_path, asking(board, "devices: [/dev/spidev0.0]"))
    assert error.code == "config.no-overlay"
    assert error.place == f"{tmp_path}/a.yml:3:41"
    assert error.hint == "instead: boot: { overlays: [spi0] }"
    with_it = asking(board, "devices: [/dev/spidev0.0]", "boot: { overlays: [spi0] }\n")
    assert refuse_lacking(written(tmp_path, with_it), (), {}) == ()


def test_the_headers_i2c_is_there_by_itself_but_on_a_pi_5(tmp_path: Path) -> None:
    for board in ("pi3", "pi4", "zero2w"):
        asks = asking(board, "devices: [/dev/i2c-1]")
        assert refuse_lacking(written(tmp_path, asks), (), {}) == ()
    error = refusal(tmp_path, asking("pi5", "devices: [/dev/i2c-1]"))
    assert "(or i2c1-400k, rtc-ds3231)" in str(error)


def test_an_overlay_that_is_left_out_gives_nothing(tmp_path: Path) -> None:
    more = "boot: { overlays: [i2c1, -i2c1] }\n"
    assert refusal(tmp_path, asking("pi5", "devices: [/dev/i2c-1]", more)).code == (
        "config.no-overlay"
    )


@pytest.mark.provokes("config.lacking")
@pytest.mark.parametrize(
    ("asks", "reason"),
    [
        ("devices: [/dev/ttyAMA0]", "UARTs"),
        ("devices: [{ path: /dev/spidev1.0 }]", "SPI_DESIGNWARE"),
        ("binds: ['/sys/class/pwm:/pwm']", "PWM"),
        ("binds.add: ['/sys/class/pwm:/pwm']", "PWM"),
    ],
)
def test_what_no_model_has_is_refused_with_the_reason(
    asks: str, reason: str, tmp_path: Path
) -> None:
    error = refusal(tmp_path, asking("pi5", asks))
    assert (error.code, reason in error.message) == ("config.lacking", True)
    assert refuse_lacking(written(tmp_path, asking("qemu-virt", asks)), (), {}) == ()


@pytest.mark.provokes("config.lacking")
@pytest.mark.parametrize(
    ("asks", "reason"),
    [
        ("boot: { config: { gpu_mem: 64 } }", "'boot.config' on .*: Only the firmware of a Raspb"),
    ],
)
def test_what_only_a_pis_boot_loader_understands_is_refused(
    asks: str, reason: str, tmp_path: Path
) -> None:
    """Also with drivers of the file's own: they change nothing about the boot loader."""
    file = written(tmp_path, f"board: arm64-uefi\nmodules: [{{ build: m }}]\n{asks}\n")
    with pytest.raises(PiimageError) as caught:
        refuse_lacking(file, (), {})
    assert caught.value.code == "config.lacking"
    assert re.search(reason, caught.value.message)
    assert refuse_lacking(written(tmp_path, f"board: pi4\n{asks}\n"), (), {}) == ()
    no_updates = written(tmp_path, "board: arm64-uefi\nslots: { updates: false }\n")
    assert refuse_lacking(no_updates, (), {}) == ()


def test_the_console_of_a_pi_5_is_no_uart_of_its_header(tmp_path: Path) -> None:
    file = written(tmp_path, asking("pi5", "devices: [/dev/ttyAMA10]"))
    assert refuse_lacking(file, (), {}) == ()


def test_a_module_that_the_kernel_lacks_is_refused(tmp_path: Path) -> None:
    error = refusal(tmp_path, "board: pi5\nmodules: [hello, pwm_rp1]\n")
    assert (error.code, error.place) == ("config.lacking", f"{tmp_path}/a.yml:2:18")


def test_an_overlay_of_raspberry_pi_os_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(PiimageError, match="PWM has no driver") as caught:
        load(written(tmp_path, "board: pi5\nboot: { overlays: [pwm] }\n"))
    assert (caught.value.code, caught.value.place) == ("config.lacking", f"{tmp_path}/a.yml:2:20")


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    error = refusal(tmp_path, asking("pi5", "devices: [/dev/spidev0.0, /dev/ttyAMA0, /dev/rtc0]"))
    assert isinstance(error, ErrorGroup)
    assert [fault.code for fault in error.errors] == [
        "config.no-overlay", "config.lacking", "config.no-overlay",
    ]  # fmt: skip


def test_the_devices_of_a_container_folder_count_unless_the_file_replaces_them(
    tmp_path: Path,
) -> None:
    uses = "board: pi5\nservices:\n  - { name: a, use: bmp280DEVICES }\n"
    error = refusal(tmp_path, uses.replace("DEVICES", ""))
    assert error.place == f"{tmp_path}/a.yml:3:21"
    assert "/dev/i2c-1" in error.message
    replaced = uses.replace("DEVICES", ", devices: [/dev/i2c-7]")
    assert refuse_lacking(written(tmp_path, replaced), (), {}) == ()


def test_the_devices_of_a_folder_of_ones_own_count_too(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/service.yml").write_text(
        "name: mine\npackages: [hello]\nconfig: { devices: [/dev/spidev0.1] }\n"
    )
    error = refusal(tmp_path, "board: pi4\nservices:\n  - { name: a, build: mine }\n")
    assert (error.code, error.place) == ("config.no-overlay", f"{tmp_path}/a.yml:3:23")


def test_a_folder_with_a_dockerfile_asks_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web/Dockerfile").write_text("FROM scratch\n")
    asks = "board: pi5\nservices:\n  - { name: web, build: web }\n"
    assert refuse_lacking(written(tmp_path, asks), (), {}) == ()


def test_an_alias_says_a_fault_once(tmp_path: Path) -> None:
    both = "{ name: a, image: x, devices: &d [/dev/spidev0.0] }, { name: b, image: x, devices: *d }"
    file = written(tmp_path, f"board: pi4\nservices: [{both}]\n")
    assert len(findings(file, (), {})) == 1


def test_what_some_of_the_boards_pis_lack_is_a_remark(tmp_path: Path) -> None:
    wifi = "board: zero2w\nnetwork: { country: DE, wifi: { ssid: x } }\n"
    (remark,) = refuse_lacking(written(tmp_path, wifi), (), {})
    assert remark.startswith(f"{tmp_path}/a.yml:2:31: ")
    assert "newer radio" in remark


def test_what_several_models_lack_is_one_remark_with_their_names(tmp_path: Path) -> None:
    asks = asking("pi5", "devices: [/dev/gpiochip0]")
    (remark,) = refuse_lacking(written(tmp_path, asks), (), {})
    assert "Raspberry Pi 5 Model B, Raspberry Pi 5 Model B Rev 1.1: " in remark
    assert remark.endswith("instead: /dev/gpiochip4")
    asks = asking("pi5", "devices: [/dev/gpiochip4]")
    assert refuse_lacking(written(tmp_path, asks), (), {}) == ()


@pytest.mark.parametrize(
    "driver", ["modules: [{ build: m }]\n", "init: [mine:1]\n", "kernel: { image: mine:1 }\n"]
)
def test_a_file_with_drivers_of_its_own_is_warned_and_not_refused(
    driver: str, tmp_path: Path
) -> None:
    asks = asking("pi5", "devices: [/dev/spidev0.0, /dev/ttyAMA0]", driver)
    assert len(refuse_lacking(written(tmp_path, asks), (), {})) == 2


def test_a_model_without_a_device_tree_is_named_with_the_reason(tmp_path: Path) -> None:
    for name, title in (("cm5", "Compute Module 5"), ("pi500", "500"), ("cm4s", "4S")):
        with pytest.raises(PiimageError, match="no device tree") as caught:
            load(written(tmp_path, f"board: {name}\n"))
        assert caught.value.code == "config.unknown-board"
        assert title in caught.value.message


def test_no_board_is_called_as_a_model_that_is_absent() -> None:
    absent = [name for board in board_names() for absence in load_board(board).absent
              for name in absence.names]  # fmt: skip
    assert len(set(absent)) == len(absent)
    assert not set(absent) & set(board_names())


def test_what_an_overlay_gives_is_no_lack_of_its_board() -> None:
    for name in board_names():
        board = load_board(name)
        given_paths = {path for paths in board.overlays.gives.values() for path in paths}
        lacked = {path for lack in board.lacks for path in lack.paths}
        assert not given_paths & lacked, name


def test_the_guide_says_all_of_it() -> None:
    guide = (Path(__file__).parents[3] / "docs/boards.md").read_text()
    for board in map(load_board, board_names()):
        of_models = [lack for model in board.models for lack in model.lacks]
        for lack in (*board.lacks, *of_models):
            assert f"| {board.name} | {lack.what} |" in guide
        for absent in board.absent:
            assert absent.title in guide


@settings(max_examples=examples(60), deadline=None)
@given(
    st.recursive(
        st.none() | st.sampled_from(["/dev/spidev0.0", "pi5", "bmp280", "x"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["name", "path", "devices", "use", "build", "wifi", "overlays"]),
                inner,
            )
        ),
        max_leaves=10,
    ),
    st.sampled_from(["services", "modules", "network", "boot", "init", "kernel"]),
)
def test_any_document_is_looked_through(
    tmp_path_factory: pytest.TempPathFactory, value: object, section: str
) -> None:
    file = tmp_path_factory.mktemp("any") / "a.yml"
    file.write_text(yaml.safe_dump({"board": "pi5", section: value}))
    for finding in findings([file], (), {}):
        assert finding.error.code in ("config.lacking", "config.no-overlay")


@pytest.mark.provokes("config.no-effect")
@pytest.mark.parametrize(
    ("parameter", "hint"),
    [
        ("i2c_arm=on", "instead: boot: { overlays: [i2c1] }"),
        ("'i2c_arm=on,spi=on'", "instead: boot: { overlays: [i2c1, spi0] }"),
        ("[audio=off]", "remove it"),
        ("i2c_arm=off", "remove it"),
    ],
)
def test_a_parameter_is_met_with_the_overlay_that_does_it(
    parameter: str, hint: str, tmp_path: Path
) -> None:
    file = written(tmp_path, f"board: pi4\nboot: {{config: {{dtparam: {parameter}}}}}")
    (remark,) = refuse_lacking(file, (), {})
    assert remark.startswith(f"{file[0]}:2:{27 if '[' in parameter else 26}: dtparam=")
    assert "has no effect: the device trees of Raspberry Pi 4 have no parameters" in remark
    assert remark.endswith(f"; {hint}")


def test_a_kernel_of_ones_own_may_know_parameters(tmp_path: Path) -> None:
    text = "board: pi4\nkernel: {image: a}\nboot: {config: {dtparam: spi=on}}"
    assert refuse_lacking(written(tmp_path, text), (), {}) == ()


def test_an_overlay_by_the_name_of_raspberry_pi_os_is_met_with_ours(tmp_path: Path) -> None:
    with pytest.raises(PiimageError) as caught:
        load(written(tmp_path, "board: pi3\nboot: {overlays: [i2c-rtc]}"))
    assert caught.value.hint == "instead: rtc-ds3231"


def test_what_stands_for_an_overlay_of_raspberry_pi_os_is_there() -> None:
    for name in board_names():
        board = load_board(name)
        assert set(board.overlays.instead_of.values()) <= set(overlay_sources(board))


@pytest.mark.provokes("ssh.unknown-option")
def test_a_key_that_the_ready_made_sshd_passes_over_is_a_remark(tmp_path: Path) -> None:
    keys = f"""ssh: {{authorized_keys: ['from="192.0.2.0/24",no-pty {KEY}', 'no-pty {KEY}']}}"""
    sshd = "services: [{name: s, use: sshd}]"
    (remark,) = refuse_lacking(written(tmp_path, f"board: pi4\n{sshd}\n{keys}"), (), {})
    assert ":3:25: the ready-made sshd (Dropbear) ignores keys with the option from" in remark
    own = "services: [{name: s, image: mine}]"
    assert refuse_lacking(written(tmp_path, f"board: pi4\n{own}\n{keys}"), (), {}) == ()


@pytest.mark.provokes("config.covered")
@pytest.mark.parametrize(
    "path",
    ["run/a", "/run/a", "tmp/a/b", "/var/lib/x", "data/x", "dev/x", "proc/x", "/sys/x", "data"],
)
def test_a_file_that_a_mount_will_cover_is_warned_of(path: str, tmp_path: Path) -> None:
    text = f"board: pi4\nfiles: [{{ path: {path}, contents: x }}]\n"
    (remark,) = refuse_lacking(written(tmp_path, text), (), {})
    assert remark.startswith(f"{tmp_path / 'a.yml'}:2:17: ")
    assert f"over /{path.strip('/').split('/')[0]} at boot" in remark


@pytest.mark.parametrize("path", ["etc/run", "runs/a", "usr/data/x", "database"])
def test_a_file_that_is_seen_is_not_warned_of(path: str, tmp_path: Path) -> None:
    text = f"board: pi4\nfiles: [{{ path: {path}, contents: x }}]\n"
    assert refuse_lacking(written(tmp_path, text), (), {}) == ()


@pytest.mark.parametrize("board", ["pi3", "zero2w", "pi4"])
def test_every_pi_can_update_its_system(board: str, tmp_path: Path) -> None:
    text = f"board: {board}\nslots: {{ updates: true }}\n"
    assert refuse_lacking(written(tmp_path, text), (), {}) == ()
