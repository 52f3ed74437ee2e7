"""The action for GitHub, the template for GitLab, and the example's use of both."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from piimage.config.load import load_all
from piimage.testing.labgrid import read_target
from tests.ci import ACTION, ROOT, TEMPLATE, action_steps, gitlab_job

EXAMPLE = ROOT / "examples" / "greenhouse"
WORKFLOW = yaml.safe_load((EXAMPLE / ".github/workflows/ci.yml").read_text())
PIPELINE = yaml.safe_load((EXAMPLE / ".gitlab-ci.yml").read_text())


def uses() -> list[dict[str, str]]:
    """The inputs that the example gives to the action."""
    steps = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]
    return [step["with"] for step in steps if step["uses"] == "OWNER/piimage@main"]


def test_both_run_the_same_lines() -> None:
    steps = {
        "driver": {"driver": "x"},
        "card": {"card": "x"},
        "pi": {"card": "x", "host": "x"},
        "publish": {"card": "x", "publish": "true"},
    }
    for name, inputs in steps.items():
        github = "\n".join(step.script for step in action_steps(inputs))
        assert gitlab_job({"extends": f".piimage-{name}"}).script == github


def test_each_step_gets_the_variables_that_it_uses() -> None:
    for step in yaml.safe_load(ACTION.read_text())["runs"]["steps"]:
        assert set(re.findall(r"PIIMAGE_[A-Z_]+", step["run"])) == set(step["env"])


def test_the_template_has_the_defaults_of_the_action() -> None:
    inputs = yaml.safe_load(ACTION.read_text())["inputs"]
    defaults = yaml.safe_load(TEMPLATE.read_text())[".piimage"]["variables"]
    assert defaults == {
        f"PIIMAGE_{name.upper().replace('-', '_')}": entry["default"]
        for name, entry in inputs.items()
        if name != "publish"  # a job of its own there
    }


@pytest.mark.parametrize("inputs", uses(), ids=["driver", "card", "release"])
def test_the_examples_inputs_are_the_actions(inputs: dict[str, str]) -> None:
    assert len(action_steps(inputs)) == 2


@pytest.mark.parametrize("name", ["driver", "card", "release"])
def test_the_examples_variables_are_the_templates(name: str) -> None:
    defaults = yaml.safe_load(TEMPLATE.read_text())[".piimage"]["variables"]
    assert PIPELINE[name]["variables"].keys() <= defaults.keys()
    assert gitlab_job(PIPELINE[name]).script.strip()


def test_the_packages_are_those_that_a_build_and_the_emulator_need() -> None:
    setup = (ROOT / "scripts" / "setup-host.sh").read_text()
    needed = {
        word
        for kind in ("build", "emulator")
        for word in re.findall(rf"^{kind}_packages=\((.*?)\)", setup, re.M | re.S)[0].split()
    }
    (step,) = action_steps({})
    (line,) = re.findall(r"--no-install-recommends \$guest(.*?)\npython3", step.script, re.S)
    assert set(line.replace("\\", "").split()) == needed


def test_the_lines_are_sound(tmp_path: Path) -> None:
    script = tmp_path / "steps.sh"
    inputs = ({"driver": "x", "card": "x"}, {"host": "x", "card": "x"}, {"publish": "true"})
    lines = [step.script for given in inputs for step in action_steps(given)]
    script.write_text("\n".join(["#!/bin/bash", "set -eo pipefail", *lines]))
    # SC2086: what pip installs, and options, are several words; SC2154: GitHub and GitLab set them.
    subprocess.run(["shellcheck", "-e", "SC2086,SC2154", script], check=True)


def test_the_examples_card_is_valid() -> None:
    appliance = load_all([EXAMPLE / "greenhouse.yml"])
    assert appliance.test is not None
    assert [bool(check.http) for check in appliance.test.checks] == [True, False, False]


def test_the_examples_of_the_page_are_valid(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "ci.md").read_text()
    test, environment, *_ = re.findall(r"```yaml\n(.*?)```", page, re.S)
    (tmp_path / "a.yml").write_text(
        f"board: pi4\nservices: [{{name: web, use: hello_world}}]\n{test}"
    )
    assert load_all([tmp_path / "a.yml"]).test is not None
    (tmp_path / "lab.yaml").write_text(environment)
    host = read_target(tmp_path / "lab.yaml", "main", {})
    assert (host.address, host.user) == ("greenhouse.local", "root")
