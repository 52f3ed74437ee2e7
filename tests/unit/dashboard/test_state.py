"""What the dashboard reads of a Pi; the files are those that a Pi has."""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path

import pytest
from dashboard.host import host
from dashboard.metrics import exposition
from dashboard.root import Root
from dashboard.samples import Samples
from dashboard.services import is_service, services
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dashboard import DIGEST, ScratchPi
from tests.examples import examples


@pytest.fixture
def pi(tmp_path: Path) -> ScratchPi:
    return ScratchPi(tmp_path / "pi")


@pytest.fixture
def root(pi: ScratchPi) -> Root:
    return Root(str(pi.folder))


def test_the_host_s_names_versions_and_slot(root: Root) -> None:
    found = host(root)
    assert (found.name, found.board) == ("greenhouse", "pi4")
    assert (found.kernel, found.version) == ("6.12.118+deb13-arm64", DIGEST)
    assert (found.slot, found.version_from) == ("partition 2", "current")
    assert not found.data_is_temporary


def test_the_slot_of_a_board_with_folders_is_the_folder(pi: ScratchPi, root: Root) -> None:
    pi.write("run/piimage/boot", "PIIMAGE_SLOT_PARTITION='1'\nPIIMAGE_SLOT_PREFIX='b/'\n")
    assert host(root).slot == "b"


def test_the_host_s_load_memory_and_processors(root: Root) -> None:
    found = host(root)
    ticks = os.sysconf("SC_CLK_TCK")
    assert (found.uptime_seconds, found.load) == (93784.25, 0.31)
    assert (found.memory_bytes, found.available_bytes) == (2_048_000_000, 1_536_000_000)
    assert found.busy_seconds == 1500 / ticks  # user and system; idle and iowait are not work
    assert found.all_seconds == 10_000 / ticks


def test_the_hottest_zone_counts(pi: ScratchPi, root: Root) -> None:
    pi.write("sys/class/thermal/thermal_zone1/temp", "51250\n")
    pi.write("sys/class/thermal/cooling_device0/type", "fan\n")
    assert host(root).celsius == 51.25


@pytest.mark.parametrize(
    ("bits", "low_voltage", "throttled"),
    [("0x50005", True, True), ("0x50000", False, False), ("0x4", False, True)],
)
def test_the_firmware_s_word_on_the_power_supply(
    pi: ScratchPi, root: Root, bits: str, low_voltage: bool, throttled: bool
) -> None:
    pi.write("sys/devices/platform/soc/soc:firmware/get_throttled", f"{bits}\n")
    found = host(root)
    assert (found.low_voltage, found.throttled) == (low_voltage, throttled)


def test_debian_s_kernel_tells_low_voltage_only(pi: ScratchPi, root: Root) -> None:
    assert (host(root).low_voltage, host(root).throttled) == (False, None)
    pi.write("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n")
    assert (host(root).low_voltage, host(root).throttled) == (True, None)


def test_a_pi_that_tells_nothing_is_no_error(tmp_path: Path) -> None:
    found = host(Root(str(tmp_path)))
    assert (found.name, found.board, found.slot, found.version) == ("", "unknown", "unknown", "")
    assert (found.celsius, found.low_voltage, found.disk_bytes) == (None, None, 0)
    assert services(Root(str(tmp_path))) == []


def test_a_running_service_with_the_kernel_s_counts(root: Root) -> None:
    web = {service.name: service for service in services(root)}["web"]
    assert (web.state, web.health, web.restarts, web.exit_code) == ("running", "healthy", 0, None)
    assert (web.cpu_seconds, web.memory_bytes, web.memory_limit_bytes) == (61.5, 23_500_000, None)
    assert (web.oom_kills, web.processes, web.is_up) == (2, 5, True)


def test_services_that_do_not_run(pi: ScratchPi, root: Root) -> None:
    pi.service("once", "exited", "", exit_code=0)
    pi.service("failed", "exited", "", exit_code=7)
    found = {service.name: service for service in services(root)}
    assert [*found] == ["failed", "mdns", "once", "pump", "web"]
    assert (found["pump"].restarts, found["pump"].exit_code, found["pump"].is_up) == (3, 1, False)
    assert (found["mdns"].memory_bytes, found["mdns"].is_up) == (None, False)
    assert (found["once"].is_up, found["failed"].is_up) == (True, False)


def test_a_limit_of_the_memory_is_a_number(pi: ScratchPi, root: Root) -> None:
    pi.write("cgroup/services/web/memory.max", "67108864\n")
    assert {s.name: s for s in services(root)}["web"].memory_limit_bytes == 67_108_864


@pytest.mark.parametrize("name", ["", ".", "..", ".turn", "../services/web", "nobody", "web/"])
def test_what_is_no_service(pi: ScratchPi, root: Root, name: str) -> None:
    pi.write("run/piimage/services/.turn", "")
    assert not is_service(root, name)
    assert is_service(root, "web")


STATE = (
    "run/piimage/boot", "proc/uptime", "proc/loadavg", "proc/stat", "proc/meminfo",
    "sys/class/thermal/thermal_zone0/temp", "sys/class/hwmon/hwmon1/in0_lcrit_alarm",
    "sys/devices/platform/soc/soc:firmware/get_throttled", "run/piimage/services/web/restarts",
    "cgroup/services/web/cpu.stat", "cgroup/services/web/memory.current",
)  # fmt: skip
WORDS = st.sampled_from(
    ["cpu", "usage_usec", "MemTotal:", "kB", "--5", "0x", "\u0663", "1e9", "9" * 30]
)


@settings(max_examples=examples(40))
@given(st.sampled_from(STATE), st.lists(WORDS | st.text(max_size=8), max_size=6))
def test_a_damaged_file_is_a_value_that_is_not_known(name: str, words: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pi = ScratchPi(Path(folder) / "pi")
        pi.path(name).write_bytes(" ".join(words).encode("utf-8", "surrogatepass"))
        root = Root(str(pi.folder))
        samples = Samples()
        sample(samples, root, 1000.0, 50.0)
        assert exposition(host(root), services(root))


# --- samples


def sample(samples: Samples, root: Root, time: float, uptime: float) -> None:
    samples.add(time, uptime, host(root), services(root))


def test_how_busy_processors_and_services_are_between_two_samples(
    pi: ScratchPi, root: Root
) -> None:
    samples = Samples()
    sample(samples, root, 1000.0, 50.0)
    assert samples.cpu_percent() == {}
    pi.write("proc/stat", "cpu  1300 0 600 8500 600 0 0 0\n")  # 400 of 1000 ticks were work
    pi.write("cgroup/services/web/cpu.stat", "usage_usec 66500000\n")  # 5 s of 10
    sample(samples, root, 1010.0, 60.0)
    assert samples.cpu_percent() == {"web": 50.0}
    assert samples.series() == {
        "cpu_percent": [(1000, None), (1010, 40.0)],
        "memory_percent": [(1000, 25.0), (1010, 25.0)],
        "celsius": [(1000, 48.7), (1010, 48.7)],
    }


def test_a_container_that_was_started_anew_has_no_negative_share(pi: ScratchPi, root: Root) -> None:
    samples = Samples()
    sample(samples, root, 1000.0, 50.0)
    pi.write("cgroup/services/web/cpu.stat", "usage_usec 1000\n")
    sample(samples, root, 1010.0, 60.0)
    assert samples.cpu_percent() == {}


def test_only_the_last_hour_is_kept(root: Root) -> None:
    samples = Samples()
    for number in range(365):
        sample(samples, root, 1000.0 + 10 * number, 50.0 + 10 * number)
    times = [time for time, _ in samples.series()["celsius"]]
    assert (len(times), times[0], times[-1]) == (360, 1050, 4640)


def test_a_kernel_without_a_thermometer_gives_no_values(pi: ScratchPi, root: Root) -> None:
    pi.path("sys/class/thermal/thermal_zone0/temp").unlink()
    samples = Samples()
    sample(samples, root, 1000.0, 50.0)
    assert samples.series()["celsius"] == [(1000, None)]
    assert not math.isnan(samples.series()["memory_percent"][0][1] or 0)
