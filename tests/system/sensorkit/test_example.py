"""examples/sensors.yml: the finished card boots, and each service shows what was planted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.sensorkit.cases import cases_of


@pytest.fixture(scope="module")
def cases(project_folder: Path, piimage_store: Path) -> dict[str, str]:
    """The failure of each service and check of `piimage test`; empty if it passed."""
    return cases_of(project_folder / "examples", piimage_store, "sensors.yml")


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
