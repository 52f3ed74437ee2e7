"""The guides' own examples."""

from __future__ import annotations

import re
import shlex
import subprocess
import time
from pathlib import Path
from subprocess import PIPE

import pytest

from piimage.cli import main as cli
from piimage.config.container import ContainerConfig
from piimage.config.load import load_all, load_folder
from piimage.container.asks import asks
from piimage.lock import LockedImage
from piimage.locking.folders import entries, folder_of
from piimage.locking.grants import is_trusted

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


@pytest.mark.slow
def test_the_program_of_the_guide_is_healthy_without_a_sensor_and_ends_when_it_is_told_to(
    tmp_path: Path,
) -> None:
    service, script, *_ = blocks(ROOT / "docs" / "containers.md", "yaml|sh")
    sensor = "/sys/class/thermal/thermal_zone0/temp"
    measured = tmp_path / "measured"
    assert sensor in script and "command: [/usr/bin/cat, /tmp/measured]" in service
    here = script.replace(sensor, f"{tmp_path}/none").replace("/tmp/measured", str(measured))
    process = subprocess.Popen(["busybox", "sh", "-c", here], stdout=PIPE, stderr=PIPE)
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"no sensor")
    deadline = time.monotonic() + 60
    while not measured.exists():
        assert time.monotonic() < deadline
    process.terminate()
    # Without a trap the signal would end it here, but not as process 1 of a container.
    assert process.wait(timeout=60) == 0
    process.communicate()


@pytest.mark.parametrize("name", ["bmp280", "dashboard", "envirophat", "goosebit", "sensors"])
def test_the_entry_of_a_services_page_needs_no_checkout(name: str, tmp_path: Path) -> None:
    text, *_ = blocks(ROOT / "services" / name / "README.md", "yaml")
    (tmp_path / "a.yml").write_text(f"board: pi4\n{text}")
    loaded = load_all([tmp_path / "a.yml"])
    assert [entry.use for entry in loaded.services] == [name]


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


def test_the_bind_of_the_data_page_is_valid(tmp_path: Path) -> None:
    text, *_ = blocks(ROOT / "docs" / "data.md", "yaml")
    (tmp_path / "a.yml").write_text(f"board: pi4\n{text}")
    (entry,) = entries(load_all([tmp_path / "a.yml"]))
    assert entry.binds == ("/data/web:/var/lib/web",)


def test_the_sticks_of_the_data_page_are_those_that_its_service_binds(tmp_path: Path) -> None:
    _, text, *_ = blocks(ROOT / "docs" / "data.md", "yaml")
    (tmp_path / "a.yml").write_text(f"board: pi4\n{text}")
    appliance = load_all([tmp_path / "a.yml"])
    (entry,) = entries(appliance)
    sources = [bind.partition(":")[0] for bind in entry.binds or ()]
    assert sources == [f"/media/{disk.name}" for disk in appliance.disks]


def test_the_file_of_the_readme_is_valid(tmp_path: Path) -> None:
    (text,) = blocks(ROOT / "README.md", "yaml")
    (tmp_path / "greenhouse.yml").write_text(text)
    assert load_all([tmp_path / "greenhouse.yml"]).board == "pi4"


def test_the_errors_of_the_compose_page_are_those_that_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page shows lines 7 and 8 of a file, and what `check` says of them."""
    *_, transcript = blocks(ROOT / "docs" / "compose.md", "console")
    command, *errors = transcript.splitlines()
    (tmp_path / "shop.yml").write_text(
        "board: pi4\nonboot:\n  - { name: dhcp, use: dhcp }\nservices:\n"
        "  - name: web\n    image: registry.example.org/web:v1\n"
        "    environment: [TZ=Europe/London]\n    mem_limit: 128M\n"
    )
    monkeypatch.chdir(tmp_path)
    assert command == "$ piimage check shop.yml"
    assert cli.execute(["check", "shop.yml"]) == 2
    assert capsys.readouterr().err.splitlines() == errors


def test_the_import_of_the_compose_page_is_what_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    transcript, *_ = blocks(ROOT / "docs" / "compose.md", "console")
    command, *output = transcript.splitlines()
    (tmp_path / "compose.yml").write_text(
        "name: shop\nservices:\n  web:\n    image: registry.example.org/web:v1\n"
        "    restart: always\n    environment:\n      TZ: Europe/London\n    read_only: true\n"
        '    ports:\n    - "8080:80"\n'
    )
    monkeypatch.chdir(tmp_path)
    assert cli.execute(shlex.split(command)[2:]) == 0
    printed = capsys.readouterr()
    assert (printed.err + printed.out).splitlines() == output
