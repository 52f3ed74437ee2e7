"""Real device nodes in user-mode Linux: i2c-stub, and the models through CUSE.

The guest's root is this machine's, read-only: the same interpreter and packages run there.
"""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.system.sensorkit.conftest import HERE, PYTHONPATH

INIT = """#!/bin/sh
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs tmp /run
for module in fs/fuse/fuse fs/fuse/cuse drivers/i2c/i2c-core drivers/i2c/i2c-dev; do
  insmod {modules}/kernel/$module.ko
done
insmod {modules}/kernel/drivers/i2c/i2c-stub.ko chip_addr=0x77,0x29,0x1d,0x49
export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH={path}
{python} {guest} 2>&1
poweroff -f
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("guest")
    program = shutil.which("linux.uml")
    assert program, "user-mode Linux is not installed: apt-get install user-mode-linux"
    modules = next(Path("/usr/lib/uml/modules").iterdir())
    init = folder / "init"
    init.write_text(
        INIT.format(
            modules=modules, path=PYTHONPATH, python=sys.executable, guest=HERE / "guest.py"
        )
    )
    init.chmod(0o755)
    root = ("root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", f"init={init}")
    started = time.monotonic()
    console = subprocess.run(
        [program, "mem=256M", *root, f"uml_dir={folder}", "con=null", "con0=fd:0,fd:1", "quiet"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    ).stdout
    result = next((line for line in console.splitlines() if line.startswith("RESULT ")), None)
    assert result, console[-3000:]
    answers = json.loads(result.removeprefix("RESULT "))
    seconds, each = time.monotonic() - started, answers["cuse ms a transfer"]
    print(f"guest: {seconds:.1f} s; {each:.2f} ms a transfer")  # noqa: T201
    return dict(answers)


@pytest.mark.parametrize("form", ["stub bmp280", "cuse smbus", "cuse rdwr", "cuse spi"])
def test_the_worked_example_in_every_form(found: dict[str, Any], form: str) -> None:
    (sample,) = found[form]
    assert (sample["temperature_celsius"], sample["pressure_pascals"]) == (25.08, 100653.25)


@pytest.mark.parametrize("form", ["stub envirophat", "cuse envirophat"])
def test_all_chips_of_the_enviro_phat(found: dict[str, Any], form: str) -> None:
    samples = {sample["sensor"]: sample for sample in found[form]}
    assert samples["bmp280"]["temperature_celsius"] == 25.08
    assert samples["tcs3472"]["illuminance_lux"] == pytest.approx(181.95, abs=0.5)
    assert samples["lsm303d"]["acceleration_z_meters_per_second_squared"] == pytest.approx(
        9.8066, abs=0.001
    )
    expected = 1.0 if form.startswith("stub") else 0.5
    assert samples["ads1015"]["voltage_0_volts"] == pytest.approx(expected, abs=0.002)


def test_an_absent_chip_is_what_a_pi_reports(found: dict[str, Any]) -> None:
    assert found["absent chip"] == errno.EREMOTEIO
