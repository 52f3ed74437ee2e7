"""A stack that `piimage deploy --to swarm` wrote, in a Swarm of one real engine.

The Swarm of five with a power cut is `tests.system.deploy.system_swarm`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from piimage.oci.engine import Engine
from piimage.oci.layout import Layout
from piimage.run import Runner
from piimage.store import Store
from tests.system.deploy.swarm import engines, form
from tests.system.deploy.swarm_project import (
    Project,
    check_limits,
    create_secret,
    deploy,
    label,
    serve,
)


def test_a_stack_serves_with_its_secret_and_its_limits_and_follows_an_update(
    tmp_path_factory: pytest.TempPathFactory, piimage_store: Path
) -> None:
    folder = tmp_path_factory.mktemp("swarm")  # short: paths of sockets are limited to 107 bytes
    with engines(folder, ["pisw1"], "piswone", "10.213.79") as (node,):
        store = Store(piimage_store)
        Engine(Layout(store), Runner(), Path("none"), node.socket).register_emulation()
        form([node], [])
        label(node, [node])
        create_secret(node)
        project = Project(folder / "project", piimage_store, node.registry)
        deploy(node, project.stack("one"))
        serve([node], "one")
        check_limits(node)
        deploy(node, project.stack("two"))
        serve([node], "two")
