"""A Swarm of three managers and two workers gets what `piimage deploy --to swarm` writes.

    python -m tests.system.deploy.system_swarm

Five real engines; one of them, the leader, loses its power and comes back later. Prints how long
each step takes, and ends with an AssertionError at the first that does not happen.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from piimage.store import default_root
from tests.system.deploy.swarm import Node, engines, form, until
from tests.system.deploy.swarm_project import (
    CRASHES,
    PORT,
    SERVICE,
    STACK,
    Project,
    check_limits,
    create_secret,
    deploy,
    label,
    serve,
    shown,
)

NAMES = ("piswm1", "piswm2", "piswm3", "pisww1", "pisww2")


def told(step: str, seconds: float) -> None:
    """Print one line of the report."""
    sys.stdout.write(f"{seconds:6.1f} s  {step}\n")
    sys.stdout.flush()


def update_state(manager: Node) -> str:
    """How the last update of the service ended, in Swarm's words."""
    form = "{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}"
    return manager.docker("service", "inspect", "--format", form, SERVICE)


def node_state(manager: Node, node: Node) -> tuple[str, str]:
    """Whether a node is up, and what it is among the managers."""
    (row,) = [row for row in manager.rows("node", "ls") if row["Hostname"] == node.name]
    return row["Status"], row["ManagerStatus"]


def main() -> int:
    """Go through it all."""
    with tempfile.TemporaryDirectory(prefix="piimage-swarm-") as name:
        folder = Path(name)
        with engines(folder, NAMES, "piswarm", "10.213.78") as nodes:
            go_through(nodes, Project(folder / "project", default_root(), nodes[0].registry))
    return 0


def go_through(nodes: list[Node], project: Project) -> None:
    """Deploy, cut the power of the leader, deploy without it, let it return, deploy a bad one."""
    leader, second, spare, *workers = nodes
    form(nodes[:3], workers)
    labelled = [leader, second, *workers]
    label(leader, labelled)
    create_secret(leader)
    deploy(leader, project.stack("one"))
    told("version one is served by the four nodes with the label", serve(labelled, "one"))
    assert spare.page(PORT) == ""
    for node in labelled:
        check_limits(node)

    leader.cut_power()
    rest = [second, *workers]
    told(
        "another manager leads after the leader's power was cut",
        until(lambda: any("Leader" in node_state(second, node) for node in (second, spare)),
              "nobody leads"),
    )  # fmt: skip
    assert [node.page(PORT) for node in rest] == [shown("one")] * 3
    told(
        "the lost node is down in the list",
        until(lambda: node_state(second, leader)[0] == "Down", "the lost node is not down"),
    )
    label(second, [spare])
    told("the service runs on the spare node, which got the label", serve([spare], "one"))

    rest.append(spare)
    deploy(second, project.stack("two"))
    told("version two is served by all that are up", serve(rest, "two"))

    leader.start()
    told("the lost node is back, and has version two by itself", serve([leader], "two"))
    nodes_up = [leader, *rest]

    deploy(second, project.stack("three", CRASHES))
    told(
        "version three exits at once, and Swarm has undone it",
        until(lambda: update_state(second) == "rollback_completed",
              f"not undone: {update_state(second)}"),
    )  # fmt: skip
    told("all serve version two", serve(nodes_up, "two"))

    second.docker("stack", "rm", STACK)
    told(
        "the stack is removed",
        until(lambda: not any(node.page(PORT) for node in nodes_up), "something is still served"),
    )


if __name__ == "__main__":
    sys.exit(main())
