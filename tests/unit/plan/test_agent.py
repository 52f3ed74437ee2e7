"""The agent is part of a system only if it has an SSH server."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from piimage.boards import load_board
from piimage.compose.layers import FilesLayer, PackagesLayer
from piimage.config.models import Appliance, Entry
from piimage.locking.requests import agent_requests, wants_agent
from piimage.plan.agent import python_layers
from tests.unit.plan.locks import lock_of

WITH = Appliance(services=(Entry(name="sshd", use="sshd"),))
WITHOUT = Appliance(services=(Entry(name="hello_world", use="hello_world"),))


def test_a_system_without_sshd_has_no_agent_and_no_python() -> None:
    assert not wants_agent(WITHOUT)
    assert list(agent_requests(WITHOUT)) == []
    assert list(python_layers(WITHOUT, lock_of(WITHOUT, load_board("qemu-virt")))) == []


def test_the_agents_python_is_the_base_that_services_share() -> None:
    shared, own = agent_requests(WITH)
    assert (shared.root, own.root) == ("base/python", "agent")
    layers = list(python_layers(WITH, lock_of(WITH, load_board("qemu-virt"))))
    assert layers[0].title.endswith("for base python")


def test_the_program_is_in_the_path_of_ssh() -> None:
    *_, own = python_layers(WITH, lock_of(WITH, load_board("qemu-virt")))
    assert isinstance(own, FilesLayer)
    files = {file.path: file for file in own.rules.files}
    assert files["usr/bin/piimage-agent"].mode == 0o755
    assert "usr/lib/piimage/agent/__main__.py" in files
    assert not [path for path in files if "__pycache__" in path]


def test_what_reads_settings_at_boot_runs_with_nothing_but_its_layers(tmp_path: Path) -> None:
    """As on the Pi: no site-packages, no piimage, and PyYAML without its part in C."""
    _, libraries, own = python_layers(WITH, lock_of(WITH, load_board("qemu-virt")))
    assert isinstance(own, FilesLayer)
    assert isinstance(libraries, PackagesLayer)
    for file in own.rules.files:
        path = tmp_path / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        assert isinstance(file.content, bytes)
        path.write_bytes(file.content)
    packages = tmp_path / "usr/lib/python3/dist-packages"
    in_c = shutil.ignore_patterns("_yaml*", "__pycache__")
    shutil.copytree(Path(yaml.__file__).parent, packages / "yaml", ignore=in_c)
    for name, target in libraries.rules.links.items():
        (tmp_path / name).symlink_to(target)
    card = tmp_path / "card"
    card.mkdir()
    (card / "user-data").write_text("#cloud-config\nlocale: de_AT\nnonsense: 1\n")
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from piimage_seed.main import main; "
        "sys.exit(main(sys.argv[2], sys.argv[3]))"
    )
    library = tmp_path / "usr/lib/piimage/agent"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, library, card, tmp_path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.splitlines()[0] == "say user-data line 3: nonsense: not supported"
