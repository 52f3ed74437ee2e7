"""The station of examples/greenhouse on virt: what was planted is found where it is stored."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.system.conftest import ROOT
from tests.system.sensorkit.cases import cases_of


@pytest.fixture(scope="module")
def cases(project_folder: Path, piimage_store: Path) -> dict[str, str]:
    """The failure of each service and check of `piimage test`; empty if it passed."""
    folder = project_folder / "examples" / "greenhouse"
    # As `piimage new --folder kernel-modules/sensor-sim` does.
    shutil.copytree(ROOT / "kernel-modules" / "sensor-sim", folder / "sensor-sim")
    return cases_of(folder, piimage_store, "station.yml", "virt.yml")


@pytest.mark.parametrize("service", ["chips", "mosquitto", "prometheus", "sensors"])
def test_services_are_healthy_from_their_layers(cases: dict[str, str], service: str) -> None:
    assert cases[f"service {service} is up"] == ""


@pytest.mark.parametrize(
    "check",
    [
        "air.temperature",
        "air.humidity",
        "window.illuminance",
        "the broker has what was planted",
        "Prometheus stores what was planted",
    ],
)
def test_what_was_planted_is_found(cases: dict[str, str], check: str) -> None:
    assert cases[check] == ""
