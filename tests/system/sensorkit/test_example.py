"""examples/sensors.yml: the finished card boots, and each service shows what was planted."""

from __future__ import annotations

import os
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.system.conftest import PIIMAGE


@pytest.fixture(scope="module")
def cases(project_folder: Path, piimage_store: Path) -> dict[str, str]:
    """The failure of each service and check of `piimage test`; empty if it passed."""
    results = project_folder / "sensors.xml"
    done = subprocess.run(
        [PIIMAGE, "test", project_folder / "examples" / "sensors.yml", "--junit", results],
        env={**os.environ, "PIIMAGE_STORE": str(piimage_store)},
        capture_output=True, text=True, timeout=880, check=False,
    )  # fmt: skip
    assert results.is_file(), done.stdout + done.stderr
    found = ET.parse(results).getroot().iter("testcase")
    return {case.attrib["name"]: "".join(case.itertext()) for case in found}


@pytest.mark.parametrize("service", ["chips", "bmp280", "bmp280-spi", "envirophat"])
def test_services_are_healthy_from_their_layers(cases: dict[str, str], service: str) -> None:
    assert cases[f"service {service} is up"] == ""


@pytest.mark.parametrize(
    "check",
    [
        "bmp280 on I2C shows what was planted",
        "its pressure as well",
        "bmp280 on SPI shows what was planted",
        "its humidity as well",
        "envirophat's weather on i2c-stub",
        "envirophat's light",
        "envirophat's analogue input",
        "the command in the container",
    ],
)
def test_metrics_show_the_planted_values(cases: dict[str, str], check: str) -> None:
    assert cases[check] == ""
