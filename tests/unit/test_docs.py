"""The guides' own examples."""

from __future__ import annotations

import re
from pathlib import Path

from piimage.config.container import ContainerConfig
from piimage.config.load import load_all, load_folder
from piimage.lock import LockedImage
from piimage.oci.asks import asks
from piimage.plan.folders import entries, folder_of
from piimage.plan.grants import is_trusted

ROOT = Path(__file__).parents[2]


def blocks(page: Path, languages: str) -> list[str]:
    return re.findall(rf"```(?:{languages})\n(.*?)```", page.read_text(), re.S)


def test_the_container_folder_of_the_guide_is_valid(tmp_path: Path) -> None:
    service, script, appliance, *_ = blocks(ROOT / "docs" / "containers.md", "yaml|sh")
    folder = tmp_path / "thermometer"
    folder.mkdir()
    (folder / "service.yml").write_text(service)
    (folder / "thermometer.sh").write_text(script)
    (tmp_path / "greenhouse.yml").write_text(appliance)
    loaded = load_all([tmp_path / "greenhouse.yml"])
    (entry,) = entries(loaded)
    found = folder_of(entry)
    assert found is not None
    assert found.service.name == "thermometer"


def test_the_python_folder_of_the_guide_is_valid(tmp_path: Path) -> None:
    *_, service, _ = blocks(ROOT / "docs" / "containers.md", "yaml")
    folder = tmp_path / "hygrometer"
    folder.mkdir()
    (folder / "service.yml").write_text(service)
    (folder / "pyproject.toml").write_text('[project]\nname = "hygrometer"\n')
    loaded = load_folder(folder)
    assert loaded.base == "python"
    assert loaded.wheels == ("smbus2", "prometheus-client>=0.20")


def test_the_line_of_the_guide_grants_what_its_label_asks_for(tmp_path: Path) -> None:
    *_, text = blocks(ROOT / "docs" / "containers.md", "yaml")
    (tmp_path / "greenhouse.yml").write_text(text)
    appliance = load_all([tmp_path / "greenhouse.yml"])
    (entry,) = entries(appliance)
    label = ContainerConfig.model_validate({"devices": ["/dev/gpiochip0"]})
    assert entry.trust == asks(label, ContainerConfig())
    digest = f"sha256:{'a' * 64}"
    assert entry.image
    assert is_trusted(appliance.trust, LockedImage(entry.image, digest, digest))


def test_the_file_of_the_readme_is_valid(tmp_path: Path) -> None:
    (text,) = blocks(ROOT / "README.md", "yaml")
    (tmp_path / "greenhouse.yml").write_text(text)
    assert load_all([tmp_path / "greenhouse.yml"]).board == "pi4"
