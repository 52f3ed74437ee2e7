"""What an agent reports of a folder that stands for a Pi's root (a fake), and how it is shown."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from piimage_agent.devices import chip_info
from piimage_agent.redact import Redactor, vendors_only, without_secrets
from piimage_agent.report import disk_id, report
from piimage_agent.root import Root
from piimage_agent.status import throttled

from piimage.cli import main as cli
from piimage.deploy.docker_remote import DockerRemote
from piimage.deploy.docker_ssh import EngineHost
from piimage.deploy.hosts import parse_host
from piimage.deploy.ssh import Ssh
from piimage.errors import InputError
from piimage.run import Runner
from tests.unit.deploy.stand_in import Stand, fake_ssh, liar

SERIAL = "10000000deadbeef"
MAC = "d8:3a:dd:ad:be:ef"
LOG = f"""\
6,1,100,-;mmc0: new high speed SDHC card at address aaaa
4,2,1500000,-;brcmfmac: firmware for {MAC} of {SERIAL} is old
 SUBSYSTEM=platform
3,3,2500000,-;foo wifi_psk=hunter2 failed
6,4,3500000,-;brcmfmac: brcmf_c_preinit_dcmds: Firmware: BCM4345/6 wl0: version 7.45.265
12,5,4500000,-;user's facility, level warning
"""


def write(root: Path, path: str, data: str | bytes) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data if isinstance(data, bytes) else data.encode())


def lead(root: Path, path: str, to: str) -> None:
    """Make a relative link, as sysfs has them; its target is made as well."""
    link, target = root / path, root / to
    target.mkdir(parents=True, exist_ok=True)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(os.path.relpath(target, link.parent))


@pytest.fixture
def pi(tmp_path: Path) -> Stand:
    """A made-up root: the files are those of a Pi 4, their contents are invented."""
    stand = Stand(tmp_path / "pi", one="1")
    root, tree = stand.root, "proc/device-tree"
    write(root, f"{tree}/model", "Raspberry Pi 4 Model B Rev 1.5\0")
    write(root, f"{tree}/compatible", "raspberrypi,4-model-b\0brcm,bcm2711\0")
    write(root, f"{tree}/serial-number", f"{SERIAL}\0")
    write(root, f"{tree}/system/linux,revision", bytes.fromhex("00c03115"))
    write(root, f"{tree}/chosen/rng-seed", b"seed of random numbers")
    write(root, f"{tree}/chosen/rpi-duid", "4004004004004004\0")
    write(root, f"{tree}/chosen/bootloader/build_timestamp", (1619000000).to_bytes(4, "big"))
    write(root, f"{tree}/chosen/bootloader/partition", (2).to_bytes(4, "big"))
    write(root, f"{tree}/chosen/bootloader/version", "c3ed1ca1\0")
    write(root, "proc/cmdline", f'console=ttyAMA0 smsc95xx.macaddr={MAC} my.key="a b c" panic=10\n')
    write(root, "proc/modules", "i2c_dev 1 0 - Live 0x0\n")
    write(root, "etc/piimage/modules-late", "/k/i2c-dev.ko.xz\n/k/spi-bcm2835.ko.xz bus=1\n")
    write(root, "dev/kmsg", LOG)
    write(root, "dev/mmcblk1", bytes(440) + bytes.fromhex("78563412") + bytes(68))
    write(root, "dev/i2c-1", "")
    card = "sys/devices/platform/emmc2bus/fe340000.mmc/mmc_host/mmc1/mmc1:aaaa"
    lead(root, "sys/block/mmcblk1", f"{card}/block/mmcblk1")
    lead(root, f"{card}/block/mmcblk1/device", card)
    write(root, f"{card}/block/mmcblk1/size", "62333952\n")
    write(root, f"{card}/type", "SD\n")
    write(root, f"{card}/serial", "0xfeedface\n")
    lead(root, f"{card}/driver", "sys/bus/mmc/drivers/mmcblk")
    lead(root, "sys/devices/platform/emmc2bus/fe340000.mmc/driver", "sys/drivers/sdhci-iproc")
    lead(
        root,
        "sys/devices/platform/emmc2bus/fe340000.mmc/of_node",
        "sys/firmware/devicetree/base/emmc2bus/mmc@7e340000",
    )
    write(
        root,
        "sys/kernel/debug/mmc1/ios",
        "clock:\t\t50000000 Hz\ntiming spec:\t2 (sd high-speed)\n",
    )
    bus = "sys/devices/platform/soc/fe804000.i2c/i2c-1"
    lead(root, "sys/bus/i2c/devices/i2c-1", bus)
    write(root, f"{bus}/name", "bcm2835 (i2c@7e804000)\n")
    lead(root, f"{bus}/of_node", "sys/firmware/devicetree/base/soc/i2c@7e804000")
    lead(root, "sys/bus/i2c/devices/1-0076", f"{bus}/1-0076")
    write(root, f"{bus}/1-0076/name", "bmp280\n")
    clock = "sys/devices/platform/soc/fe804000.i2c/i2c-1/1-0068/rtc/rtc0"
    lead(root, "sys/class/rtc/rtc0", clock)
    write(root, f"{clock}/name", "rtc-ds1307 1-0068\n")
    write(root, f"{clock}/since_epoch", "1700000000\n")
    write(root, f"{clock}/hctosys", "1\n")
    port = "sys/devices/platform/scb/fd580000.ethernet"
    lead(root, "sys/class/net/eth0", f"{port}/net/eth0")
    lead(root, f"{port}/net/eth0/device", port)
    lead(root, f"{port}/driver", "sys/bus/platform/drivers/bcmgenet")
    write(root, f"{port}/net/eth0/address", f"{MAC}\n")
    write(root, f"{port}/net/eth0/operstate", "up\n")
    lead(root, "sys/class/net/lo", "sys/devices/virtual/net/lo")
    return stand


@pytest.fixture
def facts(pi: Stand) -> Any:
    facts = (pi.root / "run/piimage/boot").read_text()
    write(pi.root, "run/piimage/boot", f"{facts}PIIMAGE_DISK='/dev/mmcblk1'\n")
    return report(Root(str(pi.root)))["facts"]


def test_the_board_and_its_boot_loader_are_told(facts: Any) -> None:
    assert facts["board"]["model"] == "Raspberry Pi 4 Model B Rev 1.5"
    assert facts["board"]["revision"] == 0xC03115
    loader = facts["boot"]["loader"]
    assert (loader["build_timestamp"], loader["partition"], loader["tryboot"]) == (
        1619000000,
        2,
        None,
    )
    assert facts["boot"]["loader_version"] == "c3ed1ca1"
    assert facts["boot"]["disk_id"] == "0x12345678"


@pytest.mark.parametrize(
    ("bits", "low_voltage", "slowed"),
    [
        ("0", False, False), ("1", True, False), ("2", False, False), ("4", False, True),
        ("8", False, False), ("50000", False, False), ("50005", True, True),
    ],
)  # fmt: skip
def test_what_the_firmware_says_about_its_supply(
    pi: Stand, bits: str, low_voltage: bool, slowed: bool
) -> None:
    """Raspberry Pi documentation, vcgencmd get_throttled: bit 0 and bit 2 are of now."""
    write(pi.root, "sys/devices/platform/soc/soc:firmware/get_throttled", f"{bits}\n")
    assert throttled(Root(str(pi.root))) == {
        "low_voltage": low_voltage, "throttled": slowed, "bits": bits
    }  # fmt: skip


def test_a_clock_is_told_and_whether_it_set_the_time(facts: Any) -> None:
    """Documentation/admin-guide/rtc.rst: name, since_epoch, hctosys."""
    assert facts["time"]["clocks"] == [
        {
            "name": "rtc0",
            "driver": "rtc-ds1307 1-0068",
            "seconds": 1_700_000_000,
            "at_boot": True,
        }
    ]


def test_a_device_is_told_with_what_it_hangs_on(facts: Any) -> None:
    (disk,) = facts["disks"]
    assert disk["bytes"] == 62333952 * 512
    assert disk["drivers"] == ["mmcblk", "sdhci-iproc"]
    assert disk["tree"] == "/emmc2bus/mmc@7e340000"
    assert disk["speed"]["timing spec"] == "2 (sd high-speed)"
    (bus,) = facts["i2c"]
    assert bus["name"] == "bcm2835 (i2c@7e804000)"
    assert (bus["number"], bus["tree"], bus["node"]) == (1, "/soc/i2c@7e804000", True)
    assert bus["chips"] == [{"address": "0076", "name": "bmp280", "driver": ""}]
    (link,) = facts["links"]
    assert (link["name"], link["drivers"], link["mac"]) == (
        "eth0",
        ["bcmgenet"],
        "d8:3a:dd:xx:xx:xx",
    )


def test_warnings_and_the_lines_that_name_hardware_are_told(facts: Any) -> None:
    lines = facts["log"]["lines"]
    assert [(line["level"], line["seconds"]) for line in lines] == [(4, 1), (3, 2), (4, 4)]
    assert [line.split(":")[0] for line in facts["log"]["named"]] == ["mmc0", "brcmfmac"]


def test_of_many_warnings_the_first_and_the_last_are_told(pi: Stand) -> None:
    log = "".join(f"4,{n},{n}000000,-;warning {n}\n" for n in range(1000))
    write(pi.root, "dev/kmsg", log)
    found: Any = report(Root(str(pi.root)))["facts"]
    lines = [line["seconds"] for line in found["log"]["lines"]]
    assert lines == [*range(80), *range(920, 1000)]
    assert found["log"]["left_out"] == 840


def test_a_module_that_is_not_loaded_is_told(facts: Any) -> None:
    assert facts["modules"] == {"loaded": 1, "failed": ["spi_bcm2835"]}


def test_nothing_leaves_that_names_the_pi_or_lets_somebody_in(pi: Stand, facts: Any) -> None:
    assert facts["board"]["has_serial"] is True
    output = json.dumps(facts)
    secrets = [
        "feedface",
        SERIAL,
        "deadbeef",
        MAC,
        "ad:be:ef",
        "hunter2",
        "a b c",
        "seed",
        "4004004004004004",
    ]
    assert [secret for secret in secrets if secret in output] == []
    assert "my.key=(left out) panic=10" in facts["kernel"]["command_line"]
    assert "d8:3a:dd:xx:xx:xx of (left out) is old" in output


def test_an_empty_root_has_no_facts_and_no_errors(tmp_path: Path) -> None:
    facts: Any = report(Root(str(tmp_path)))["facts"]
    assert facts["disks"] == facts["i2c"] == facts["services"] == []
    assert facts["board"]["model"] == ""


def test_a_disk_that_is_too_short_has_no_id(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(bytes(441))
    assert disk_id(str(tmp_path / "disk")) == ""


def test_a_gpio_chip_is_read_as_the_kernel_writes_it() -> None:
    data = b"gpiochip0".ljust(32, b"\0") + b"pinctrl-bcm2711".ljust(32, b"\0") + b"\x3a\0\0\0"
    assert chip_info(data) == {"label": "pinctrl-bcm2711", "lines": 58}


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (f"eth0 {MAC}, up", "eth0 d8:3a:dd:xx:xx:xx, up"),
        (f"MAC={MAC}:00:11:22:33:44:55:08:00", "MAC=d8:3a:dd" + ":xx" * 11),
        ("D8-3A-DD-AD-BE-EF", "D8-3A-DD-xx-xx-xx"),
        ("0000:01:00.0", "0000:01:00.0"),
        ("12:34:56 and ff:", "12:34:56 and ff:"),
        (f"enx{MAC}", "enxd8:3a:dd:xx:xx:xx"),
    ],
)
def test_of_a_mac_address_the_vendor_stays(text: str, clean: str) -> None:
    assert vendors_only(text) == clean


@given(st.lists(st.integers(0, 255), min_size=6, max_size=6), st.text(max_size=20))
def test_the_end_of_no_mac_address_stays(octets: list[int], before: str) -> None:
    mac = ":".join(f"{octet:02x}" for octet in octets)
    assert vendors_only(f"{before} {mac} after").endswith(f" {mac[:8]}:xx:xx:xx after")


@given(st.text())
def test_text_without_addresses_and_secrets_stays(text: str) -> None:
    if ":" not in text and "-" not in text:
        assert vendors_only(text) == text
    if "=" not in text:
        assert without_secrets(text) == text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("a wifi.PSK=x b", "a wifi.PSK=(left out) b"),
        ('token="x y z" b', "token=(left out) b"),
        ('token="x" b', "token=(left out) b"),
        ('token=" x" b', "token=(left out) b"),
        ("key b", "key b"),
    ],
)
def test_a_secrets_value_is_left_out_and_the_rest_stays(text: str, clean: str) -> None:
    assert without_secrets(text) == clean


def test_short_numbers_and_zeros_are_not_looked_for() -> None:
    assert Redactor(["", "0000000000", "12"]).text("0000000000 12") == "0000000000 12"


def test_what_is_too_long_is_cut() -> None:
    cut = Redactor([]).clean({"text": "x" * 5000, "list": [1] * 1000})
    assert cut == {"text": "x" * 2048, "list": [1] * 256}


# --- the command


@pytest.fixture
def reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def reach(command: str) -> None:
        runner = fake_ssh(tmp_path / "bin", {"shed": command})
        monkeypatch.setenv("PATH", runner.environment["PATH"])

    return reach


def test_the_report_is_printed_with_verdicts_and_advice(
    pi: Stand, reach: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    reach(shlex.join(pi.command()))
    assert cli.execute(["doctor", "--pi", "shed"]) == 0
    out = capsys.readouterr().out
    assert "model                   Raspberry Pi 4 Model B Rev 1.5\n" in out
    assert "look at this  EEPROM                  of 2021-04-21: it does not know [tryboot]" in out
    assert "-> update the EEPROM" in out
    assert "good          I2C of the header       /dev/i2c-1\n" in out
    assert "broken: 0" in out
    assert "Not in this report: serial numbers" in out


def test_as_json_there_are_facts_and_findings(
    pi: Stand, reach: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    reach(shlex.join(pi.command()))
    assert cli.execute(["doctor", "--pi", "shed", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["hosts"]["shed"]
    assert found["facts"]["board"]["revision"] == 0xC03115
    assert {"area": "buses", "name": "I2C of the header", "value": "/dev/i2c-1", "verdict": "good",
            "advice": ""} in found["findings"]  # fmt: skip


@pytest.mark.provokes("doctor.broken")
def test_what_is_broken_is_an_error(
    pi: Stand, reach: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    write(pi.root, "run/piimage/health/one", "unhealthy\n")
    write(pi.root, "run/piimage/data-is-temporary", "")
    reach(shlex.join(pi.command()))
    assert cli.execute(["doctor", "--pi", "shed"]) == 1
    output = capsys.readouterr()
    assert "broken        /data                   temporary" in output.out
    assert (
        "shed: 2 findings are broken: /data, service one [doctor.broken]; the report says"
        in output.err
    )


def test_an_older_agent_is_named_as_such(reach: Any, tmp_path: Path, capsys: Any) -> None:
    reach(liar(tmp_path, [{"ok": True, "features": ["put-zlib"]}]))
    assert cli.execute(["doctor", "--pi", "shed"]) == 1
    assert (
        "shed: this agent cannot report on its hardware [deploy.cannot]; build the file again"
        in (capsys.readouterr().err)
    )
    reach(liar(tmp_path, [{"ok": True, "features": ["logs-age"]}]))
    assert cli.execute(["logs", "shed", "one", "--until", "5min"]) == 1
    assert "shed: this agent cannot end a log at a time [deploy.cannot]" in capsys.readouterr().err


HELLO = {"ok": True, "features": ["report-1"]}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"ok": True}, ""),
        ({"ok": True, "facts": 1}, "the report.facts is no mapping"),
        ({"ok": True, "facts": {"disks": {}}}, ""),
        ({"ok": True, "facts": {"disks": {"a": 1}}}, "disks is no list"),
        ({"ok": True, "facts": {"disks": [1]}}, "disks is no mapping"),
        ({"ok": True, "facts": {"board": {"model": 5}}}, "board.model is no text"),
        ({"ok": True, "facts": {"board": {"revision": "c03115"}}}, "board.revision is no number"),
        ({"ok": True, "facts": {"board": {"model": "x" * 5000}}}, "board.model is no text"),
        ({"ok": True, "facts": {"i2c": [{}] * 2000}}, "i2c is no list"),
    ],
)
def test_a_pi_that_lies_gives_an_error_and_no_traceback(
    reach: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], answer: object, expected: str
) -> None:
    reach(liar(tmp_path, [HELLO, answer]))
    assert cli.execute(["doctor", "--pi", "shed"]) == (1 if expected else 0)
    output = capsys.readouterr()
    assert expected in output.err
    assert "internal error" not in output.err


def test_a_pis_words_do_not_steer_the_terminal(
    reach: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "\x1b[2J\x9b\r\nfaked\ud800"
    service = {"name": evil, "state": "running", "health": evil}
    facts = {
        "board": {"model": evil, "compatible": [evil]}, "services": [service],
        "log": {"lines": [{"level": 99, "text": evil}], "named": [f"{evil}: new card at"]},
    }  # fmt: skip
    reach(liar(tmp_path, [HELLO, {"ok": True, "facts": facts}]))
    assert cli.execute(["doctor", "--pi", "shed"]) == 1
    output = capsys.readouterr()
    assert "\\x1b[2J\\x9b\\r\\nfaked\\ud800" in output.out
    assert all(line.isprintable() for line in (output.out + output.err).splitlines())
    assert "\nfaked" not in output.out
    assert "\nfaked" not in output.err
    assert cli.execute(["doctor", "--pi", "shed", "--json"]) == 1
    assert capsys.readouterr().out.isascii()


@pytest.mark.provokes("doctor.no-agent")
def test_an_engine_has_no_report() -> None:
    host = EngineHost(Ssh(Runner(), ask=False), parse_host("docker+ssh://pi@shed"))
    with pytest.raises(InputError, match="needs piimage's agent"):
        DockerRemote(host, cast("Any", None)).examine(0)


def test_the_host_tools_are_told_as_json_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.which", lambda name, path: None if name == "mcopy" else name)
    assert cli.execute(["doctor", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["tools"]["mcopy"] == "missing"
