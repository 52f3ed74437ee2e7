"""What the agent reads of sysfs, procfs, debugfs and the device tree, each from its file.

The paths are those of Linux: Documentation/ABI in the kernel's source, proc(5), and Raspberry Pi's
documentation of firmware parameters. The root is made up, and so are the contents.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from piimage_agent import devices, status, sysfs
from piimage_agent.kernel_log import kernel_log
from piimage_agent.redact import own_numbers
from piimage_agent.report import disk_id, report
from piimage_agent.root import Root, assignments, is_file, read_line

from piimage.card import gpt
from piimage.card.partitions import Table
from tests.unit.deploy.stand_in import MACHINE

FILES = {
    # A disk on USB, a card with all that its register says, and what is no disk.
    "sys/block/sda/size": "8\n",
    "sys/block/sda/ro": "1\n",
    "sys/block/sda/removable": "1\n",
    "sys/block/sda/device/model": "Portable SSD\n",
    "sys/block/sda/device/vendor": "Samsung\n",
    "sys/block/mmcblk0/size": "0\n",
    "sys/block/mmcblk0/device/name": "SC32G\n",
    "sys/block/mmcblk0/device/manfid": "0x000003\n",
    "sys/block/mmcblk0/device/type": "SD\n",
    "sys/block/mmcblk0/device/fwrev": "0x0\n",
    "sys/block/mmcblk0/device/date": "05/2021\n",
    "sys/block/mmcblk0/device/life_time": "0x01 0x01\n",
    "sys/block/mmcblk0/device/pre_eol_info": "0x01\n",
    "sys/block/nvme0n1/device/firmware_rev": "2B2QEXM7\n",
    "sys/block/loop0/size": "8\n",
    "sys/block/ram0/size": "8\n",
    "sys/block/zram0/size": "8\n",
    "sys/block/dm-0/size": "8\n",
    "sys/bus/spi/devices/spi0.1/modalias": "spi:spidev\n",
    "dev/spidev0.1": "",
    "sys/bus/spi/devices/spi1.0/modalias": "spi:ads1115\n",
    "sys/bus/i2c/devices/i2c-10/name": "a bus\n",
    "sys/bus/i2c/devices/i2c-1/name": "bcm2835\n",
    "sys/bus/i2c/devices/1-0076/name": "bmp280\n",
    "sys/bus/i2c/devices/10-0010/name": "imx219\n",
    "sys/class/watchdog/watchdog0/identity": "Broadcom BCM2835 Watchdog timer\n",
    "sys/class/watchdog/watchdog0/state": "active\n",
    "sys/class/watchdog/watchdog0/timeout": "15\n",
    "sys/class/watchdog/watchdog0/bootstatus": "32\n",
    "sys/class/watchdog/watchdog0/nowayout": "0\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "48312\n",
    "sys/class/thermal/thermal_zone1/type": "cold\n",
    "sys/class/thermal/thermal_zone1/temp": "-1500\n",
    "sys/class/thermal/cooling_device0/type": "pwm-fan\n",
    "sys/class/thermal/cooling_device0/cur_state": "1\n",
    "sys/class/thermal/cooling_device0/max_state": "4\n",
    "sys/class/hwmon/hwmon0/name": "rpi_volt\n",
    "sys/class/hwmon/hwmon0/in0_lcrit_alarm": "1\n",
    "sys/class/hwmon/hwmon0/uevent": "x\n",
    "sys/class/hwmon/hwmon1/name": "pwmfan\n",
    "sys/class/hwmon/hwmon1/fan1_input": "2800\n",
    "sys/class/hwmon/hwmon1/fan1_label": "fan\n",
    "sys/class/net/wlan0/operstate": "up\n",
    "sys/class/net/wlan0/carrier": "1\n",
    "sys/class/net/wlan0/address": "d8:3a:dd:ad:be:ef\n",
    "sys/class/net/wlan0/phy80211/name": "phy0\n",
    "sys/class/net/wlan0/device/uevent": "",
    "sys/class/net/wlan1/wireless/x": "",
    "sys/class/net/wlan1/device/uevent": "",
    "sys/class/net/eth0/operstate": "down\n",
    "sys/class/net/eth0/carrier": "0\n",
    "sys/class/net/eth0/speed": "-1\n",
    "sys/class/net/eth0/device/uevent": "",
    "sys/class/rfkill/rfkill0/type": "wlan\n",
    "sys/class/rfkill/rfkill0/soft": "1\n",
    "sys/class/rfkill/rfkill0/hard": "0\n",
    "sys/class/rfkill/rfkill1/type": "bluetooth\n",
    "sys/class/rfkill/rfkill1/soft": "0\n",
    "sys/class/rfkill/rfkill1/hard": "1\n",
    "sys/bus/usb/devices/1-1/idVendor": "2109\n",
    "sys/bus/usb/devices/1-1/idProduct": "3431\n",
    "sys/bus/usb/devices/1-1/manufacturer": "VIA\n",
    "sys/bus/usb/devices/1-1/product": "USB2.0 Hub\n",
    "sys/bus/usb/devices/1-1/speed": "480\n",
    "sys/bus/usb/devices/1-1:1.0/x": "",
    "sys/bus/usb/devices/1-1:1.1/x": "",
    "sys/class/rtc/rtc0/name": "rpi-rtc\n",
    "sys/class/rtc/rtc0/since_epoch": "7\n",
    "sys/class/rtc/rtc0/hctosys": "0\n",
    "sys/devices/system/cpu/online": "0-3\n",
    "sys/devices/system/cpu/cpu0/regs/identification/midr_el1": "0x00000000410fd083\n",
    "sys/devices/system/cpu/cpufreq/boost": "1\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_driver": "cpufreq-dt\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_governor": "ondemand\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "700000\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_min_freq": "600000\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq": "1500000\n",
    "sys/devices/system/clocksource/clocksource0/current_clocksource": "arch_sys_counter\n",
    "sys/kernel/debug/devices_deferred": "3f980000.usb\twaits\n",
    "proc/cmdline": "quiet\n",
    "proc/uptime": "3000.75 5000.00\n",
    "proc/loadavg": "0.10 0.20 0.30 1/99 1234\n",
    "proc/sys/kernel/tainted": "1024\n",
    "proc/meminfo": "MemTotal: 900 kB\nMemFree: 5 kB\nMemAvailable: 400 kB\n",
    "proc/modules": "a 1 0 - Live\nspi_bcm2835 1 0 - Live\n",
    "etc/piimage/modules-late": "\n/k/spi-bcm2835.ko.xz bus=1\n/k/b.ko\n",
    "run/piimage/boot": (
        "PIIMAGE_DISK='/dev/sda'\nPIIMAGE_CONTAINERS_FROM='slot'\nSELECTOR='autoboot'\n"
        "PIIMAGE_DATA_DEVICE='/dev/sda3'\nPIIMAGE_SLOT_PARTITION='2'\nPIIMAGE_SLOT_PREFIX='a/'\n"
        "PIIMAGE_SLOT='/slot'\nPIIMAGE_SLOT_CONTAINERS='c'\n"
    ),
    "run/piimage/data-is-temporary": "",
    "slot/appliance.json": (
        '{"board": "pi4", "kernel": "6.12", "system": ["s"],'
        ' "files": {"config.txt": "f", "layers/x": "g"}}'
    ),
}
TREE = "proc/device-tree"
BOOT_LOADER = {
    "boot-mode": 1, "build_timestamp": 2, "capabilities": 3, "partition": 4, "pm_rsts": 5,
    "rsts": 6, "signed": 7, "signed_boot": 8, "tryboot": 9, "update_timestamp": 10,
}  # fmt: skip
FIRMWARE = {"rpi-boardrev-ext": 11, "rpi-min-boot-ver": 12, "rpi-sdram-size-gbit": 13}
POWER = {
    "max_current": 14, "power_reset": 15, "rpi_power_supply": 16, "usb_max_current_enable": 17,
    "usb_over_current_detected": 18,
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    top = tmp_path_factory.mktemp("root")
    words = {f"chosen/bootloader/{key}": value for key, value in BOOT_LOADER.items()}
    words |= {f"chosen/{key}": value for key, value in FIRMWARE.items()}
    words |= {f"chosen/power/{key}": value for key, value in POWER.items()}
    cells = {f"{TREE}/{path}": value.to_bytes(4, "big") for path, value in words.items()}
    texts = {path: text.encode() for path, text in FILES.items()}
    for path, data in {**texts, **cells, "dev/sda": bytes(440) + b"\4\3\2\1"}.items():
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_bytes(data)
    for path, driver in (
        ("sys/bus/spi/devices/spi0.1/driver", "spidev"),
        ("sys/bus/i2c/devices/1-0076/driver", "bmp280"),
        ("sys/class/watchdog/watchdog0/device/driver", "bcm2835-wdt"),
        ("sys/bus/usb/devices/1-1:1.0/driver", "hub"),
    ):
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).symlink_to(f"/sys/bus/x/drivers/{driver}")
    return Root(str(top))


NOWHERE = {"path": "", "drivers": [], "tree": ""}


def test_disks(root: Root) -> None:
    found = {disk["name"]: disk for disk in devices.disks(root)}
    assert sorted(found) == ["mmcblk0", "nvme0n1", "sda"]
    assert found["sda"] == {
        "name": "sda", "bytes": 8 * 512, "read_only": True, "removable": True,
        "model": "Portable SSD", "vendor": "Samsung", "kind": "", "firmware": "", "made": "",
        "life_time": "", "pre_eol_info": "", "speed": {}, **NOWHERE,
    }  # fmt: skip
    assert found["mmcblk0"] == {
        "name": "mmcblk0", "bytes": 0, "read_only": False, "removable": False, "model": "SC32G",
        "vendor": "0x000003", "kind": "SD", "firmware": "0x0", "made": "05/2021",
        "life_time": "0x01 0x01", "pre_eol_info": "0x01", "speed": {}, **NOWHERE,
    }  # fmt: skip
    assert found["nvme0n1"]["firmware"] == "2B2QEXM7"


def test_buses(root: Root) -> None:
    assert devices.spi(root) == [
        {"name": "spi0.1", "kind": "spi:spidev", "driver": "spidev", "node": True, "tree": ""},
        {"name": "spi1.0", "kind": "spi:ads1115", "driver": "", "node": False, "tree": ""},
    ]
    chip = {"address": "0076", "name": "bmp280", "driver": "bmp280"}
    camera = {"address": "0010", "name": "imx219", "driver": ""}
    assert devices.i2c(root) == [
        {"number": 1, "name": "bcm2835", "tree": "", "node": False, "chips": [chip]},
        {"number": 10, "name": "a bus", "tree": "", "node": False, "chips": [camera]},
    ]
    assert devices.usb(root) == [
        {
            "name": "1-1", "id": "2109:3431", "maker": "VIA", "product": "USB2.0 Hub",
            "speed": "480", "drivers": ["hub"],
        }
    ]  # fmt: skip


def test_what_watches_measures_and_cools(root: Root) -> None:
    assert devices.watchdogs(root) == [
        {
            "name": "watchdog0", "identity": "Broadcom BCM2835 Watchdog timer", "state": "active",
            "timeout": 15, "boot_status": 32, "nowayout": 0, "driver": "bcm2835-wdt",
        }
    ]  # fmt: skip
    assert devices.zones(root) == [
        {"name": "cpu-thermal", "temperature": 48312},
        {"name": "cold", "temperature": -1500},
    ]
    assert devices.coolers(root) == [{"name": "pwm-fan", "state": 1, "most": 4}]
    assert devices.monitors(root) == [
        {"name": "rpi_volt", "values": {"in0_lcrit_alarm": "1"}},
        {"name": "pwmfan", "values": {"fan1_input": "2800", "fan1_label": "fan"}},
    ]
    assert status.throttled(root) == {"low_voltage": True}


def test_ports_and_radios(root: Root) -> None:
    assert devices.links(root) == [
        {
            "name": "eth0", "wireless": False, "state": "down", "carrier": False, "speed": -1,
            "mac": "", **NOWHERE,
        },
        {
            "name": "wlan0", "wireless": True, "state": "up", "carrier": True, "speed": None,
            "mac": "d8:3a:dd:ad:be:ef", **NOWHERE,
        },
        {
            "name": "wlan1", "wireless": True, "state": "", "carrier": False, "speed": None,
            "mac": "", **NOWHERE,
        },
    ]  # fmt: skip
    assert devices.radios(root) == [
        {"kind": "wlan", "soft": True, "hard": False},
        {"kind": "bluetooth", "soft": False, "hard": True},
    ]
    assert devices.clocks(root) == [
        {"name": "rtc0", "driver": "rpi-rtc", "seconds": 7, "at_boot": False}
    ]


def test_a_chip_that_cannot_be_asked_is_named(tmp_path: Path) -> None:
    """A file is no GPIO chip: the ioctl fails."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/gpiochip0").touch()
    (tmp_path / "dev/gpiomem").touch()
    assert devices.gpio(Root(str(tmp_path))) == [{"name": "gpiochip0", "label": "", "lines": 0}]


def test_a_chip_is_asked_for_its_label_and_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """linux/gpio.h: GPIO_GET_CHIPINFO_IOCTL is _IOR(0xB4, 0x01, struct gpiochip_info): name and
    label of 32 bytes each, and a number of 32 bits. The ioctl is a fake."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/gpiochip0").touch()
    queried: list[int] = []

    def ioctl(fd: int, request: int, buffer: bytearray) -> int:
        assert request == 2 << 30 | 68 << 16 | 0xB4 << 8 | 1
        assert not os.get_inheritable(fd)
        queried.append(fd)
        name, label = b"gpiochip0".ljust(32, b"\0"), b"pinctrl-bcm2711\0old".ljust(32, b"\0")
        buffer[:] = name + label + (58).to_bytes(4, sys.byteorder)
        return 0

    monkeypatch.setattr(devices.fcntl, "ioctl", ioctl)
    chip = {"name": "gpiochip0", "label": "pinctrl-bcm2711", "lines": 58}
    assert devices.gpio(Root(str(tmp_path))) == [chip]
    with pytest.raises(OSError):
        os.fstat(queried[0])


def test_the_report_has_all_parts_under_their_names(root: Root) -> None:
    facts: Any = report(root)["facts"]
    assert sorted(facts) == [
        "agent", "board", "boot", "coolers", "data", "deferred", "disks", "gpio", "i2c", "kernel",
        "links", "log", "memory", "modules", "monitors", "processor", "radios", "services", "spi",
        "throttled", "time", "usb", "watchdogs", "zones",
    ]  # fmt: skip
    assert facts["boot"] == {
        "loader": BOOT_LOADER, "loader_version": "", "board": "pi4", "partition": "2",
        "prefix": "a/", "containers_from": "slot", "selector": "autoboot", "disk": "/dev/sda",
        "disk_id": "0x01020304", "data_device": "/dev/sda3",
    }  # fmt: skip
    assert (facts["board"]["firmware"], facts["board"]["power"]) == (FIRMWARE, POWER)
    assert facts["board"]["has_serial"] is False
    assert facts["processor"] == {
        "online": "0-3", "id": "0x00000000410fd083",
        "policies": [{"driver": "cpufreq-dt", "governor": "ondemand", "now": 700_000,
                      "least": 600_000, "most": 1_500_000}],
    }  # fmt: skip
    assert facts["kernel"] == {
        "release": os.uname().release, "version": os.uname().version, "machine": MACHINE,
        "command_line": "quiet", "uptime": 3000, "load": ["0.10", "0.20", "0.30"], "tainted": 1024,
    }  # fmt: skip
    assert facts["time"]["source"] == "arch_sys_counter"
    assert facts["deferred"] == {"readable": True, "devices": ["3f980000.usb\twaits"]}
    assert facts["modules"] == {"loaded": 2, "failed": ["b"]}
    assert facts["memory"] == {"total": 900 * 1024, "available": 400 * 1024}
    assert facts["data"] == {"total": 0, "free": 0, "temporary": True}


def test_the_slot_is_told_without_its_layers(root: Root) -> None:
    assert status.slot(root) == {
        "board": "pi4", "kernel": "6.12", "system": ["s"], "files": {"config.txt": "f"},
        "containers": "c", "partition": "2", "prefix": "a/", "arch": MACHINE, "temporary": True,
        "running": "", "folders": {},
    }  # fmt: skip


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100_000])
def test_a_slot_whose_description_is_no_mapping_has_no_facts(tmp_path: Path, text: str) -> None:
    for path, data in (("run/piimage/boot", "PIIMAGE_SLOT=/s\n"), ("s/appliance.json", text)):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(data)
    root = Root(str(tmp_path))
    assert status.manifest(root) == {}
    empty = status.slot(root)
    assert (empty["board"], empty["kernel"], empty["system"], empty["files"]) == ("", "", [], {})
    assert (empty["containers"], empty["partition"], empty["prefix"]) == ("", "", "")
    assert empty["temporary"] is False


def test_the_status_has_all_that_the_page_shows(root: Root) -> None:
    (Path(root.path) / "data").mkdir()
    found = status.status(root)
    room = os.statvfs(root.path)
    assert found.pop("data")["total"] == room.f_blocks * room.f_frsize
    assert found == {
        "host": os.uname().nodename, "model": "unknown", "board": "pi4",
        "kernel": os.uname().release, "agent": "1",
        "slot": {"partition": "2", "prefix": "a/", "containers": "c"}, "running": "",
        "generation": {"id": "slot", "good": True, "note": ""}, "can_go_back": True,
        "uptime": 3000.75, "load": ["0.10", "0.20", "0.30"], "temperature": 48.312,
        "throttled": {"low_voltage": True},
        "memory": {"total": 900 * 1024, "available": 400 * 1024}, "services": [],
    }  # fmt: skip
    (Path(root.path) / "data").rmdir()


def test_a_root_without_procfs_has_a_status(tmp_path: Path) -> None:
    found = status.status(Root(str(tmp_path)))
    assert (found["uptime"], found["load"], found["temperature"]) == (0, [], None)
    assert (found["throttled"], found["memory"]) == (None, {"total": 0, "available": 0})
    assert found["data"] == {"total": 0, "free": 0}


def test_numbers_and_links_that_are_not_there_are_none(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("unknown\n")
    (tmp_path / "short").write_bytes(b"\0\0\1")
    (tmp_path / "texts").write_bytes(b"\0one\0 two \0")
    assert (sysfs.number(f"{tmp_path}/text"), sysfs.number(f"{tmp_path}/gone")) == (None, None)
    assert sysfs.size(f"{tmp_path}/gone") == 0
    assert sysfs.link(f"{tmp_path}/text") == sysfs.tree_path(f"{tmp_path}/text") == ""
    assert sysfs.cells(f"{tmp_path}/short") is sysfs.cells(f"{tmp_path}/gone") is None
    assert sysfs.tree_texts(f"{tmp_path}/texts") == ["one", " two "]
    assert sysfs.tree_text(f"{tmp_path}/texts") == "one"
    assert sysfs.tree_text(f"{tmp_path}/gone") == ""


@pytest.mark.parametrize(("size", "found"), [(443, ""), (444, "0x01020304")])
def test_the_id_of_a_disk_is_four_bytes_of_its_mbr(tmp_path: Path, size: int, found: str) -> None:
    """UEFI specification, 5.2.1: UniqueMBRDiskSignature, byte 440, little-endian."""
    (tmp_path / "disk").write_bytes((bytes(440) + b"\4\3\2\1")[:size])
    assert disk_id(f"{tmp_path}/disk") == found
    assert disk_id(f"{tmp_path}/gone") == ""


def test_the_id_of_a_disk_with_a_gpt_is_the_first_part_of_its_guid(tmp_path: Path) -> None:
    table = Table(0x1020304, {})
    (tmp_path / "disk").write_bytes(gpt.encode(table, gpt.disk_size(table))[0])
    assert disk_id(f"{tmp_path}/disk") == "0x01020304"


def test_what_only_this_pi_has_is_known_in_all_its_forms(tmp_path: Path) -> None:
    for path, text in (
        ("proc/device-tree/serial-number", "00000000deadbeef\0"),
        ("proc/device-tree/chosen/rpi-duid", "4004123456789012\0"),
        ("sys/class/net/eth0/address", "d8:3a:dd:ad:be:ef\n"),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert own_numbers(Root(str(tmp_path))) == [
        "00000000deadbeef", "deadbeef", "deadbeef",
        "4004123456789012", "4004123456789012", "56789012", "d83addadbeef",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("record", "kept"),
    [
        ("4,1,1999999,-;text", [{"level": 4, "seconds": 1, "text": "text"}]),
        ("5,1,1000000,-;notice", []),
        ("x,1,1000000,-;no level", []),
        ("4,1,x,-;no time", []),
        ("4,1;no time", []),
        ("4,1,1000000,-", []),
        ("4,1,1;" + "x" * 401, [{"level": 4, "seconds": 0, "text": "x" * 400}]),
    ],
)
def test_a_record_of_the_kernel_log(tmp_path: Path, record: str, kept: list[object]) -> None:
    """Documentation/ABI/testing/dev-kmsg; a record of three fields is one of older kernels."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/kmsg").write_text(f"{record}\n")
    assert kernel_log(Root(str(tmp_path))) == {"lines": kept, "left_out": 0, "named": []}


@pytest.mark.parametrize(("count", "left_out"), [(160, 0), (161, 1)])
def test_as_many_lines_as_are_kept_are_all_kept(tmp_path: Path, count: int, left_out: int) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/kmsg").write_text("4,1,1,-;Firmware hash\n" * count)
    found = kernel_log(Root(str(tmp_path)))
    assert (len(found["lines"]), found["left_out"], len(found["named"])) == (160, left_out, 64)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("brcmfmac: Firmware: BCM4345/6", True),
        ("raspberrypi-firmware: Attached to firmware from 2024", True),
        ("raspberrypi-firmware: Firmware hash is x", True),
        ("platform x: deferred probe pending", True),
        ("mmc0: new SDHC card at address aaaa", True),
        ("usb 1-1: new high-speed USB device", False),
        ("mmc0: card at address aaaa removed", False),
    ],
)
def test_the_lines_that_name_hardware(tmp_path: Path, text: str, told: bool) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/kmsg").write_text(f"6,1,1,-;{text}\n")
    assert kernel_log(Root(str(tmp_path)))["named"] == [text] * told


def test_what_the_initramfs_found_out_is_read_and_not_executed(tmp_path: Path) -> None:
    text = "A='x y'\nB=\"$(reboot)\"\nno assignment\nC=a=b\nD= 'z' \n"
    assert assignments(text) == {"A": "x y", "B": "$(reboot)", "C": "a=b", "D": "z"}
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "file").write_text(" first \nsecond\n")
    assert read_line(f"{tmp_path}/file") == "first"
    assert is_file(f"{tmp_path}/file")
    assert not is_file(f"{tmp_path}/link")
    assert not is_file(f"{tmp_path}/gone")
