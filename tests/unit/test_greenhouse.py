"""The station of examples/greenhouse: its files as a user copies them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from sensorkit.gpio.sensor import QUANTITIES
from sensorkit.kernel.quantities import HWMON, IIO

from piimage.config.load import load
from tests.ci import ROOT

EXAMPLE = ROOT / "examples" / "greenhouse"
PUBLISHED = {unit.quantity.metric for table in (IIO, HWMON) for unit in table.values()} | {
    f"{quantity.metric}_total" if quantity.total else quantity.metric
    for quantity in QUANTITIES.values()
}


@pytest.mark.parametrize(("board", "services"), [("pi4", 4), ("virt", 5)])
def test_the_station_is_valid_on_both_boards(board: str, services: int, tmp_path: Path) -> None:
    folder = tmp_path / "greenhouse"
    shutil.copytree(EXAMPLE, folder)
    shutil.copytree(ROOT / "kernel-modules" / "sensor-sim", folder / "sensor-sim")
    found = load([folder / "station.yml", folder / f"{board}.yml"])
    assert len(found.services) == services
    assert found.test is not None


def test_every_metric_of_the_dashboard_is_one_that_the_service_publishes() -> None:
    text = (EXAMPLE / "dashboards" / "greenhouse.json").read_text()
    names = set(re.findall(r"\bsensors_(\w+)", text)) - {"sensor_healthy"}
    assert names <= PUBLISHED
    assert {"temperature_celsius", "pulses_total", "output_active"} <= names


def test_every_panel_of_the_dashboard_asks_the_data_source_that_a_user_chooses() -> None:
    dashboard = json.loads((EXAMPLE / "dashboards" / "greenhouse.json").read_text())
    assert [entry["name"] for entry in dashboard["templating"]["list"]] == ["source"]
    for panel in dashboard["panels"]:
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert {source["uid"] for source in sources} == {"${source}"}
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
