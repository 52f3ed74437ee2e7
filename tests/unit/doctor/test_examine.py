"""The verdicts, each provoked by facts that are made up."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piimage.boards import known_boards
from piimage.doctor.examine import Examination, examine
from piimage.doctor.facts import BadFacts
from piimage.doctor.findings import Finding, Verdict, size
from piimage.doctor.models import board_of, revision, title

GOOD, LOOK, BROKEN, ABSENT = Verdict.GOOD, Verdict.LOOK, Verdict.BROKEN, Verdict.ABSENT
FOLDER = Path(__file__).parents[3] / "piimage" / "doctor"
BOARDS = tuple(known_boards())
NOW = 1_800_000_000
PI3 = {"compatible": ["raspberrypi,3-model-b", "brcm,bcm2837"], "revision": 0xA02082}
PI4 = {"compatible": ["raspberrypi,4-model-b", "brcm,bcm2711"], "revision": 0xC03115}
PI5 = {"compatible": ["raspberrypi,5-model-b", "brcm,bcm2712"]}
NOVEMBER_2022 = 1669334400
MAY_2024 = 1715558400
GIB = 1 << 30


def found(facts: Mapping[str, Any], name: str) -> Finding:
    """The one finding of that name."""
    (finding,) = [
        finding
        for area in examine(facts, NOW, BOARDS).areas
        for finding in area.findings
        if finding.name == name
    ]
    return finding


def loader(board: Mapping[str, Any], **values: int) -> dict[str, Any]:
    return {"board": board, "boot": {"loader": values, "partition": "2"}}


def disk(**more: object) -> dict[str, Any]:
    return {"disks": [{"name": "mmcblk0", "bytes": 31914983424, **more}]}


def root(identity: str) -> dict[str, Any]:
    return {"boot": {"disk": "/dev/mmcblk0", "disk_id": identity}, **disk()}


def root_wanted(identity: str) -> dict[str, Any]:
    return {"kernel": {"command_line": f"quiet piimage.disk-id={identity}"}}


def bus(number: int, tree: str, node: bool = True) -> dict[str, Any]:
    return {"number": number, "tree": tree, "node": node}


def chip(board: Mapping[str, Any], name: str, label: str) -> dict[str, Any]:
    return {"board": board, "gpio": [{"name": name, "label": label}]}


def log(*named: str) -> dict[str, Any]:
    return {"log": {"named": list(named)}}


def service(**row: object) -> dict[str, Any]:
    return {"services": [{"name": "web", "state": "running", "health": "healthy", **row}]}


I2C1 = "I2C of the header"
HEADER5 = "/axi/pcie@1000120000/pci@0,0/dev@0,0/pci-ep-bus@1/i2c@40074000"
CASES = [
    ({"board": {"model": "Raspberry Pi 5"}}, "model", Verdict.TOLD, ""),
    ({}, "model", LOOK, "send the report"),
    ({}, "revision", ABSENT, ""),
    ({"board": {"power": {"max_current": 5000}}}, "supply", GOOD, ""),
    ({"board": {"power": {"max_current": 3000}}}, "supply", LOOK, "5 V and 5 A"),
    # boot
    (loader(PI3), "EEPROM", ABSENT, ""),
    (loader(PI4, build_timestamp=NOVEMBER_2022), "EEPROM", GOOD, ""),
    (loader(PI4, build_timestamp=NOVEMBER_2022 - 1), "EEPROM", LOOK, "An old EEPROM"),
    (loader(PI5, build_timestamp=MAY_2024), "EEPROM", GOOD, ""),
    (loader(PI5, build_timestamp=MAY_2024 - 1), "EEPROM", LOOK, "An old EEPROM"),
    (loader({}, build_timestamp=1), "EEPROM", Verdict.TOLD, ""),
    (loader(PI4, partition=2), "booted partition", GOOD, ""),
    (loader(PI4, partition=3), "booted partition", LOOK, "disagree"),
    (loader(PI5, partition=0), "booted partition", LOOK, "An old EEPROM"),
    (loader(PI5), "booted partition", ABSENT, ""),
    (loader(PI4, tryboot=1), "tryboot", LOOK, "previous slot"),
    ({"kernel": {"command_line": "quiet panic=10"}}, "after a panic", GOOD, ""),
    ({"kernel": {"command_line": "quiet panic=0"}}, "after a panic", LOOK, "panic=10"),
    ({"kernel": {"command_line": "quiet"}}, "after a panic", LOOK, "panic=10"),
    # disks
    ({}, "root disk", ABSENT, ""),
    (root("0x12345678"), "root disk", GOOD, ""),
    ({"boot": {"disk": "/dev/sda"}, **disk()}, "root disk", BROKEN, "its cable"),
    (root("0x12345678"), "its id", GOOD, ""),
    (root("0x00000000"), "its id", LOOK, "flash the card again"),
    (root("0x12345678") | root_wanted("12345678"), "its id", GOOD, ""),
    (root("0x12345678") | root_wanted("87654321"), "its id", LOOK, "unplug one disk"),
    (root(""), "its id", LOOK, "flash the card again"),
    (disk(), "mmcblk0", Verdict.TOLD, ""),
    (disk(read_only=True), "mmcblk0", LOOK, "replace the card"),
    (disk(kind="SD"), "mmcblk0 wear", ABSENT, ""),
    (disk(life_time="0x01 0x02"), "mmcblk0 wear", GOOD, ""),
    (disk(life_time="0x02 0x09"), "mmcblk0 wear", LOOK, "plan its replacement"),
    (disk(life_time="0x0b 0x01"), "mmcblk0 wear", BROKEN, "replace the module"),
    (disk(pre_eol_info="0x03"), "mmcblk0 spare blocks", LOOK, "replace the module"),
    (log("mmc0: new high speed SDHC card at address aaaa"), "mmc0 card", GOOD, ""),
    (log("mmc0: new SDHC card at address aaaa"), "mmc0 card", LOOK, "contacts"),
    ({"data": {"total": 100, "free": 50}}, "/data", GOOD, ""),
    ({"data": {"total": 100, "free": 4}}, "/data", LOOK, "less than 5 %"),
    ({"data": {"temporary": True}}, "/data", BROKEN, "DATA LOST"),
    # buses
    ({}, "I2C", ABSENT, ""),
    ({"i2c": [bus(1, "/x")]}, "i2c-1", Verdict.TOLD, ""),
    ({"i2c": [bus(1, "/x", node=False)]}, "i2c-1", LOOK, "load the module i2c-dev"),
    ({"board": PI4, "i2c": [bus(1, "/soc/i2c@7e804000")]}, I2C1, GOOD, ""),
    ({"board": PI4, "i2c": [bus(3, "/soc/i2c@7e804000")]}, I2C1, LOOK, "rebuild the card"),
    ({"board": PI5, "i2c": [bus(1, HEADER5), bus(2, "/x")]}, I2C1, GOOD, ""),
    ({"board": PI5, "i2c": [bus(1, "/x")]}, I2C1, LOOK, "overlay i2c1"),
    ({}, "SPI", ABSENT, ""),
    ({"spi": [{"name": "spi0.0", "driver": "spidev"}]}, "spi0.0", GOOD, ""),
    ({"spi": [{"name": "spi0.0"}]}, "spi0.0", LOOK, "no driver is loaded"),
    ({}, "GPIO", ABSENT, ""),
    ({"gpio": [{"name": "gpiochip0", "label": "x"}]}, "gpiochip0", Verdict.TOLD, ""),
    (chip(PI4, "gpiochip0", "pinctrl-bcm2711"), "gpiochip0", GOOD, ""),
    (chip(PI5, "gpiochip4", "pinctrl-rp1"), "gpiochip4", LOOK, "gpiochip4"),
    ({}, "USB", ABSENT, ""),
    ({"usb": [{"name": "1-1", "drivers": ["hub"]}]}, "USB 1-1", Verdict.TOLD, ""),
    ({"usb": [{"name": "1-1"}]}, "USB 1-1", LOOK, "add a kernel module"),
    # health
    ({}, "temperature", ABSENT, ""),
    ({"zones": [{"name": "cpu", "temperature": 79_999}]}, "cpu", GOOD, ""),
    ({"zones": [{"name": "cpu", "temperature": 80_000}]}, "cpu", LOOK, "a fan"),
    ({"zones": [{"name": "cpu", "temperature": 85_000}]}, "cpu", BROKEN, "a fan"),
    ({"zones": [{"name": "cpu"}]}, "cpu", LOOK, "restart the Pi"),
    ({}, "power", ABSENT, ""),
    ({"throttled": {"low_voltage": False}}, "power", GOOD, ""),
    ({"throttled": {"low_voltage": True}}, "power", BROKEN, "supply"),
    ({"throttled": {"low_voltage": False, "bits": "0"}}, "power", GOOD, ""),
    ({"throttled": {"low_voltage": False, "bits": "50000"}}, "power", LOOK, "supply"),
    ({"throttled": {"low_voltage": True, "bits": "50005"}}, "power", BROKEN, "supply"),
    ({"throttled": {"low_voltage": False, "bits": "0x"}}, "power", GOOD, ""),
    ({"monitors": [{"name": "x", "values": {"in0_alarm": "1"}}]}, "sensor x", LOOK, "in0_alarm"),
    ({"monitors": [{"name": "x", "values": {"in0_alarm": "0"}}]}, "sensor x", Verdict.TOLD, ""),
    ({"memory": {"total": GIB, "available": GIB // 2}}, "memory", GOOD, ""),
    ({"memory": {"total": GIB, "available": GIB // 20}}, "memory", LOOK, "less than 10 %"),
    ({"board": PI4, "memory": {"total": GIB, "available": GIB}}, "memory", LOOK, "4096 MiB"),
    ({}, "frequency", ABSENT, ""),
    ({}, "watchdog", LOOK, "does not restart"),
    ({"watchdogs": [{"name": "watchdog0", "state": "active"}]}, "watchdog0", GOOD, ""),
    ({"watchdogs": [{"name": "watchdog0", "state": "inactive"}]}, "watchdog0", LOOK, "not started"),
    ({"watchdogs": [{"name": "watchdog0", "boot_status": 32}]}, "last restart", LOOK, "hung"),
    ({"time": {"now": NOW + 120}}, "time", GOOD, ""),
    ({"time": {"now": NOW - 121}}, "time", LOOK, "ntp"),
    ({}, "real-time clock", ABSENT, ""),
    # network
    ({"links": [{"name": "eth0", "state": "up"}]}, "eth0", GOOD, ""),
    ({"links": [{"name": "eth0", "state": "down"}]}, "eth0", LOOK, "check the cable"),
    ({"links": [{"name": "wlan0", "wireless": True}]}, "wlan0", LOOK, "check the WiFi settings"),
    ({}, "WiFi", ABSENT, ""),
    ({"log": {"lines": [{"level": 3, "text": "brcmfmac: no"}]}}, "WiFi", LOOK, "firmware"),
    ({"radios": [{"kind": "wlan"}]}, "radio (wlan)", GOOD, ""),
    ({"radios": [{"kind": "wlan", "soft": True}]}, "radio (wlan)", LOOK, "country"),
    ({"radios": [{"kind": "wlan", "hard": True}]}, "radio (wlan)", LOOK, "turn the switch on"),
    # system
    ({}, "modules", GOOD, ""),
    ({"modules": {"failed": ["spi"]}}, "modules", LOOK, "console output"),
    ({}, "devices that wait", ABSENT, ""),
    ({"deferred": {"readable": True}}, "devices that wait", GOOD, ""),
    ({"deferred": {"devices": ["fe.x\tno"]}}, "devices that wait", LOOK, "driver"),
    (log("platform x: deferred probe pending: y"), "devices that wait", LOOK, "driver"),
    (service(), "service web", GOOD, ""),
    (service(restarts=2), "service web", LOOK, "piimage logs"),
    (service(health="unhealthy"), "service web", BROKEN, "piimage logs"),
    (service(state="stopped", health=""), "service web", LOOK, "piimage start"),
    (service(state="exited", health="", exit=0), "service web", GOOD, ""),
    (service(state="exited", health="", exit=1), "service web", BROKEN, "piimage logs"),
    ({}, "warnings", GOOD, ""),
    ({"log": {"lines": [{"level": 4, "text": "x"}]}}, "warnings", LOOK, "harmless"),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "name", "verdict", "advice"), CASES)
def test_a_fact_gets_its_verdict(
    facts: Mapping[str, Any], name: str, verdict: Verdict, advice: str
) -> None:
    finding = found(facts, name)
    assert finding.verdict is verdict
    assert advice in finding.advice
    assert bool(finding.advice) is (verdict in (LOOK, BROKEN))


def test_each_advice_is_provoked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call of `look` and `broken` in the sources is reached by one of the cases."""
    reached = set()

    def recording(original: Callable[..., Finding]) -> Callable[..., Finding]:
        def record(*arguments: str) -> Finding:
            caller = sys._getframe(1)
            reached.add((Path(caller.f_code.co_filename).name, caller.f_lineno))
            return original(*arguments)

        return record

    calls = set()
    for path in FOLDER.glob("*.py"):
        module = importlib.import_module(f"piimage.doctor.{path.stem}")
        for name in ("look", "broken"):
            if path.name != "findings.py" and hasattr(module, name):
                monkeypatch.setattr(module, name, recording(getattr(module, name)))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("look", "broken"):
                calls.add((path.name, node.lineno))
    for facts, *_ in CASES:
        examine(facts, NOW, BOARDS)
    assert calls == reached


@pytest.mark.parametrize(
    ("code", "model", "stepping", "memory"),
    [
        (0xC03115, "Raspberry Pi 4 Model B", "1.5", 4096),
        (0xA02082, "Raspberry Pi 3 Model B", "1.2", 1024),
        (0x902120, "Raspberry Pi Zero 2 W", "1.0", 512),
        (0xE04171, "Raspberry Pi 5 Model B or Raspberry Pi 5 Model B Rev 1.1", "1.1", 16384),
        (0xB03150, "Raspberry Pi Compute Module 4S", "1.0", 2048),
        (0xB041A0, "Raspberry Pi Compute Module 5", "1.0", 2048),
        (0xF03111, "Raspberry Pi 4 Model B", "1.1", None),
        (0x8FFFF1, "unknown model (0xff)", "1.1", 256),
    ],
)
def test_a_revision_code_is_read(code: int, model: str, stepping: str, memory: int | None) -> None:
    decoded = revision(code)
    assert decoded is not None
    assert (title(decoded.kind, BOARDS), decoded.stepping, decoded.memory_mib) == (
        model,
        stepping,
        memory,
    )


def test_a_board_of_ones_own_says_what_its_models_are_called() -> None:
    (pi4,) = [board for board in BOARDS if board.name == "pi4"]
    model = pi4.models[0].model_copy(update={"compatible": "acme,garden", "title": "Garden Pi"})
    own = pi4.model_copy(update={"name": "own", "models": (model,)})
    assert board_of(["acme,garden", "brcm,bcm2711"], [pi4, own]) is own
    assert board_of(["acme,other", "brcm,bcm2711"], [pi4, own]) is pi4
    assert board_of(["acme,other"], [pi4, own]) is None


def test_a_code_of_the_old_style_says_nothing() -> None:
    assert revision(0x000E) is None
    assert found({"board": {"revision": 0x000E}}, "revision").value == "000e"


def test_a_folders_boot_needs_no_partition_of_the_boot_loader() -> None:
    facts = loader(PI3, partition=1)
    facts["boot"]["selector"] = "0"
    assert found(facts, "booted partition").verdict is GOOD


def test_the_first_trouble_and_its_age_are_told() -> None:
    lines = [{"level": 3, "seconds": 7, "text": "it broke"}]
    finding = found({"log": {"lines": lines, "left_out": 4}}, "7 s, error")
    assert finding.value == "it broke"
    assert found({"log": {"lines": lines, "left_out": 4}}, "warnings").value.startswith("5, 4 in")


def test_verdicts_are_counted() -> None:
    result = examine(service(health="unhealthy"), NOW, BOARDS)
    assert [finding.name for finding in result.broken()] == ["service web"]
    assert result.counts()[BROKEN] == 1


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (31914983424, "31.9 GB")]
)
def test_sizes_are_as_on_the_label(count: int, text: str) -> None:
    assert size(count) == text


# --- a Pi that lies: every key that is asked for, with values of every type

KEYS = sorted(
    {
        key
        for path in FOLDER.glob("*.py")
        for key in re.findall(r'"([a-z0-9_ -]{2,20})"', path.read_text())
    }
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
NASTY = st.sampled_from(
    ["0x", "-1", "0x0b 0xffff", "mmc0: new ", ": deferred probe pending", " ", "panic=", 1 << 70]
)
VALUES = st.recursive(
    SCALARS | NASTY,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6)
    ),
    max_leaves=20,
)


AREAS = (
    "board", "boot", "data", "disks", "gpio", "i2c", "kernel", "links", "log", "memory", "monitors",
    "services", "spi", "throttled", "time", "usb", "watchdogs", "zones",
)  # fmt: skip


@pytest.mark.slow
@given(VALUES | st.dictionaries(st.sampled_from(AREAS), VALUES))
def test_any_document_is_judged_or_refused(document: object) -> None:
    try:
        result = examine(document, NOW, BOARDS)
    except BadFacts as bad:
        assert str(bad)  # either is right
    else:
        assert isinstance(result, Examination)
