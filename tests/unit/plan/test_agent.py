"""The agent is part of a system only if it has an SSH server."""

from __future__ import annotations

from piimage.boards import load_board
from piimage.compose.layers import FilesLayer
from piimage.config.models import Appliance, Entry
from piimage.locking.requests import agent_requests, wants_agent
from piimage.plan.agent import agent_layers
from tests.unit.plan.locks import lock_of

WITH = Appliance(services=(Entry(name="sshd", use="sshd"),))
WITHOUT = Appliance(services=(Entry(name="hello_world", use="hello_world"),))


def test_a_system_without_sshd_has_no_agent_and_no_python() -> None:
    assert not wants_agent(WITHOUT)
    assert list(agent_requests(WITHOUT)) == []
    assert list(agent_layers(WITHOUT, lock_of(WITHOUT, load_board("qemu-virt")))) == []


def test_the_agents_python_is_the_base_that_services_share() -> None:
    (request,) = agent_requests(WITH)
    assert request.root == "base/python"
    layers = list(agent_layers(WITH, lock_of(WITH, load_board("qemu-virt"))))
    assert layers[0].title.endswith("for base python")


def test_the_program_is_in_the_path_of_ssh() -> None:
    *_, own = agent_layers(WITH, lock_of(WITH, load_board("qemu-virt")))
    assert isinstance(own, FilesLayer)
    files = {file.path: file for file in own.rules.files}
    assert files["usr/bin/piimage-agent"].mode == 0o755
    assert "usr/lib/piimage/agent/__main__.py" in files
    assert not [path for path in files if "__pycache__" in path]
