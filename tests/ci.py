"""Reads the shell out of the action for GitHub and the template for GitLab."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
ACTION = ROOT / "action.yml"
TEMPLATE = ROOT / "templates" / "piimage.gitlab-ci.yml"


@dataclass(frozen=True)
class Step:
    """A part of a job: lines of shell, and the variables that they get."""

    name: str
    script: str
    variables: Mapping[str, str]


def action_steps(given: Mapping[str, str]) -> list[Step]:
    """The steps that GitHub runs for the inputs `given`, with expressions filled in."""
    document = yaml.safe_load(ACTION.read_text())
    inputs = {name: entry["default"] for name, entry in document["inputs"].items()}
    assert given.keys() <= inputs.keys()
    inputs |= given
    return [
        Step(step["name"], step["run"], {k: _filled(v, inputs) for k, v in step["env"].items()})
        for step in document["runs"]["steps"]
        if _holds(step.get("if", ""), inputs)
    ]


def _filled(text: str, inputs: Mapping[str, str]) -> str:
    found = re.fullmatch(r"\$\{\{ inputs\.([a-z-]+) \}\}", text)
    assert found, text
    return inputs[found[1]]


def _holds(condition: str, inputs: Mapping[str, str]) -> bool:
    """Whether terms of the form ``inputs.x == ''`` or ``!=``, joined by ``&&``, are all true."""
    for term in filter(None, condition.split(" && ")):
        found = re.fullmatch(r"inputs\.([a-z-]+) (==|!=) ''", term)
        assert found, term
        if (inputs[found[1]] == "") != (found[2] == "=="):
            return False
    return True


def gitlab_job(job: Mapping[str, Any]) -> Step:
    """What GitLab runs for a job that extends one of the template's."""
    jobs = yaml.safe_load(TEMPLATE.read_text())
    chain = [dict(job)]
    while "extends" in chain[-1]:
        chain.append(jobs[chain[-1]["extends"]])
    merged: dict[str, Any] = {}
    variables: dict[str, str] = {}
    for entry in reversed(chain):
        merged |= entry
        variables |= entry.get("variables", {})
    return Step(
        str(job["extends"]), "\n".join([*merged["before_script"], *merged["script"]]), variables
    )
