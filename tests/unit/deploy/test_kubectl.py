"""Applying manifests: against a stand-in for kubectl, which records what it is asked for.

The stand-in is no Kubernetes. It has the words and the exit statuses that kubectl's documentation
gives `apply`, `rollout status`, `rollout undo` and `delete`, and refuses everything else.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from piimage.deploy.kubectl import Kubectl
from piimage.errors import PiimageError
from piimage.run import Runner

STAND_IN = """#!{python}
import json, os, pathlib, re, sys
folder = pathlib.Path(__file__).parent
plan = json.loads((folder / "plan").read_text())
words = sys.argv[1:]
with (folder / "log").open("a") as log:
    log.write(" ".join(words) + "\\n")
if words == ["apply", "-f", "-"]:
    names = re.findall(r"name: ([a-z0-9-]+)", sys.stdin.read())
    for name in names:
        if name == plan.get("refused"):
            print("error: the server could not take it", file=sys.stderr)
            sys.exit(1)
        print("daemonset.apps/" + name, plan["results"][name])
elif words[:2] == ["rollout", "status"] and re.fullmatch(r"--timeout=\\d+s", words[3]):
    name, undone = words[2], (folder / "undone").exists()
    if name == "daemonset/" + plan.get("sick", "") and not undone:
        print("error: timed out waiting for the condition", file=sys.stderr)
        sys.exit(1)
    print("daemon set rolled out")
elif words[:2] == ["rollout", "undo"] and len(words) == 3:
    (folder / "undone").touch()
    print(words[2] + " rolled back")
elif words[0] == "delete" and words[2:] == ["--wait=false"]:
    print("deleted")
else:
    sys.exit(64)
"""
MANIFESTS = "---\nname: one\n---\nname: two\n---\nname: three\n"


@dataclass
class StandIn:
    folder: Path

    def plan(self, **plan: object) -> None:
        (self.folder / "plan").write_text(json.dumps(plan))

    @property
    def requests(self) -> list[str]:
        return (self.folder / "log").read_text().splitlines()

    def apply(self, told: list[str]) -> tuple[str, ...]:
        environment = {"PATH": f"{self.folder}:/usr/bin:/bin"}
        return Kubectl(Runner(environment=environment)).apply(MANIFESTS, 7, told.append)


@pytest.fixture
def cluster(tmp_path: Path) -> StandIn:
    program = tmp_path / "kubectl"
    program.write_text(STAND_IN.replace("{python}", sys.executable))
    program.chmod(0o755)
    return StandIn(tmp_path)


RESULTS = {"one": "configured", "two": "unchanged", "three": "created"}


def test_what_changed_is_waited_for(cluster: StandIn) -> None:
    cluster.plan(results=RESULTS)
    told: list[str] = []
    assert cluster.apply(told) == ("one", "three")
    assert cluster.requests == [
        "apply -f -",
        "rollout status daemonset/one --timeout=7s",
        "rollout status daemonset/three --timeout=7s",
    ]
    assert told == [
        "one: configured", "two: unchanged", "three: created", "one: ready", "three: ready",
    ]  # fmt: skip


@pytest.mark.provokes("deploy.rolled-back")
@pytest.mark.parametrize("sick", ["one", "three"])
def test_a_service_that_is_not_ready_undoes_all_that_changed(cluster: StandIn, sick: str) -> None:
    cluster.plan(results=RESULTS, sick=sick)
    with pytest.raises(
        PiimageError, match=f"{sick} was not ready within 7 s: error: timed"
    ) as caught:
        cluster.apply([])
    assert caught.value.code == "deploy.rolled-back"
    assert cluster.requests[-3:] == [
        "rollout undo daemonset/one",
        "rollout status daemonset/one --timeout=7s",
        "delete daemonset/three --wait=false",
    ]


@pytest.mark.provokes("deploy.kubectl")
def test_manifests_that_the_cluster_takes_only_in_part_are_undone(cluster: StandIn) -> None:
    cluster.plan(results=RESULTS, refused="three")
    with pytest.raises(PiimageError, match="error: the server could not take it") as caught:
        cluster.apply([])
    assert caught.value.code == "deploy.kubectl"
    assert cluster.requests[1:] == [
        "rollout undo daemonset/one", "rollout status daemonset/one --timeout=7s",
    ]  # fmt: skip
