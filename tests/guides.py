"""The commands that the guides show, and where each of them is run.

python -m tests.guides prints how many there are.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.unit import pages

LANGUAGES = ("console", "sh", "shell", "bash")
PROMPT = re.compile(r"(\$|#|~ #) ")
COMMENT = re.compile(r"(^|\s+)#.*")
# What follows a line with <<END, up to END, is the input of that command.
HERE_DOCUMENT = re.compile(r"(?P<line>[^\n]*<<'?(?P<end>\w+)'?[^\n]*\n)(?:.*\n)*?(?P=end)\n")

# Pages whose commands tests/system/guides runs, each in the page's order.
RUN = frozenset(
    {
        "docs/boards.md",
        "docs/buses.md",
        "docs/containers.md",
        "docs/data.md",
        "docs/deploy.md",
        "docs/disks.md",
        "docs/emulator.md",
        "docs/flash.md",
        "docs/home-assistant.md",
        "docs/modules.md",
        "docs/network.md",
        "docs/questions.md",
        "docs/recipes.md",
        "docs/secrets.md",
        "docs/sensors.md",
        "docs/time-and-logs.md",
        "docs/updates.md",
        "services/dashboard/README.md",
    }
)
# Pages whose commands another test runs.
ELSEWHERE: Mapping[str, str] = {
    "README.md": "tests/system/first/test_readme.py",
    "docs/ci.md": "tests/system/test_ci.py",
    "docs/compose.md": "tests/unit/test_docs.py",
    "docs/driver-testing.md": "tests/system/chipmodels/test_plugin.py",
    "docs/first-card.md": "tests/system/first/test_readme.py",
    "docs/install.md": "tests/system/host/test_container.py",
    "docs/linuxkit.md": "tests/system/linuxkit/test_page.py",
    "docs/no-boot.md": "tests/system/guides/test_pages.py",
    "examples/greenhouse/README.md": "tests/system/test_ci.py",
}
# Pages whose commands are all on another page, in the same words.
SAME: Mapping[str, str] = {
    "docs/first-card.md": "README.md",
    "docs/no-boot.md": "docs/emulator.md",
}
# Commands of a page in RUN that another test runs as the page shows them, by how they begin.
APART: Mapping[str, Mapping[str, str]] = {
    "docs/home-assistant.md": {"mosquitto_": "tests/system/sensorkit/test_home_assistant.py"},
    "docs/recipes.md": {
        "piimage lock": "tests/system/test_ci.py",
        "pytest": "tests/system/test_ci.py",
    },
}
# Commands that no test runs as the page shows them, by how they begin, and why.
NOT_RUN: Mapping[str, Mapping[str, str]] = {
    "README.md": {"make": "they run these tests"},
    "docs/boards.md": {},
    "docs/cloud.md": {
        "aws": "needs an account in a cloud",
        "piimage": "such a disk is built and booted in tests/system/boot/test_uefi.py",
    },
    "docs/containers.md": {
        "docker run": "needs an engine: tests/system/oci/test_engine.py",
        "apptainer": "needs Apptainer on an arm64 machine: tests/unit/formats/test_sif.py",
        "piimage lock greenhouse.yml": "the second one names a registry that nobody has: "
        "tests/system/oci/test_registry.py",
        "piimage pkg build thermometer --load": "needs an engine: tests/system/oci/test_engine.py",
        "piimage pkg push": "needs a registry: tests/system/pkg/test_pkg.py",
        "skopeo login": "needs a registry: tests/system/pkg/test_pkg.py",
    },
    "docs/data.md": {"piimage flash": "a new card of this Pi: tests/system/flash/test_boot.py"},
    "docs/deploy.md": {
        "kubectl": "needs a cluster, which has no arm64 machine here",
        "piimage deploy greenhouse.yml --to docker+ssh": "needs an engine behind SSH: "
        "tests/system/deploy/test_docker.py",
        "piimage deploy greenhouse.yml --to kubernetes": "needs a registry: "
        "tests/system/deploy/test_one_digest.py",
        "docker": "needs a swarm: tests/system/deploy/test_swarm.py",
        "piimage deploy greenhouse.yml --to swarm": "needs a registry: "
        "tests/system/deploy/test_swarm.py",
    },
    "docs/disks.md": {"piimage flash /dev/nvme1n1": "needs such a disk"},
    "docs/docker.md": {
        "": "the test has images and a Pi of its own: tests/system/boot/test_docker.py"
    },
    "docs/drivers.md": {"": "they run tests of this run"},
    "docs/flash.md": {},
    "docs/fleet.md": {
        "": "the test has its own goosebit and Pi: tests/system/deploy/test_update_server.py",
    },
    "docs/install.md": {
        "docker pull": "the release is in no registry that can be reached here",
        "docker tag": "the release is in no registry that can be reached here",
        "pip install": "the package is in no index yet: tests/system/host/test_clean.py",
    },
    "docs/linuxkit.md": {
        "piimage build http": "needs a server: tests/unit/config/test_received.py",
        "piimage cache export store.tar": "the tests share the store: tests/unit/test_cache.py",
        "piimage cache gc": "other tests use the store: tests/unit/test_cache.py",
        "piimage cache import store.tar": "the tests share the store: tests/unit/test_cache.py",
        "piimage run": "one more boot: tests/system/boot/test_virt.py",
    },
    "docs/modules.md": {
        "cat": "needs a kernel with the module: tests/system/modules/test_sensor_sim.py",
        "echo": "needs a kernel with the module: tests/system/modules/test_sensor_sim.py",
        "mkdir": "needs a kernel with the module: tests/system/modules/test_gpio.py",
        "mount": "needs a kernel with the module: tests/system/modules/test_gpio.py",
        "python3": "needs a kernel with the module: tests/system/modules/test_sensor_sim.py",
    },
    "docs/mutants.md": {"": "half an hour for each room; tests/unit/test_mutants.py"},
    "docs/network.md": {"sudo": "the network of the test has its own bridge and tap"},
    "docs/questions.md": {
        "piimage lock": "the network of the guides' tests has no mirror: "
        "tests/system/build/test_card.py",
    },
    "docs/recipes.md": {
        "cp -r PIIMAGE": "the test copies the example by itself: tests/system/test_ci.py"
    },
    "docs/secrets.md": {
        "piimage test": "one more boot: tests/unit/testing/test_command.py",
    },
    "docs/registry-images.md": {
        "": "nginx is in no registry that can be reached here: tests/system/oci/test_registry.py"
    },
}


@dataclass(frozen=True)
class Line:
    """A command of a page: the words that a person types, without prompt and comment.

    `on_the_pi` is true for what is typed into `piimage shell`.
    """

    page: str
    text: str
    on_the_pi: bool = False

    @property
    def reason(self) -> str | None:
        """Why no test runs the command as it is; None if one does."""
        return self._find(NOT_RUN)

    @property
    def apart(self) -> str | None:
        """The test that runs this command alone, if the test of the page does not."""
        return self._find(APART)

    def _find(self, table: Mapping[str, Mapping[str, str]]) -> str | None:
        starts = table.get(self.page, {})
        return next((told for start, told in starts.items() if self.text.startswith(start)), None)


def read(page: Path) -> Iterator[Line]:
    """Give the commands of a page in its order; a script, which begins with ``#!``, is none."""
    for token in pages.tokens(page):
        language = token.info.partition(" ")[0]
        if token.type != "fence" or language not in LANGUAGES or token.content.startswith("#!"):
            continue
        text = HERE_DOCUMENT.sub(r"\g<line>", token.content).replace("\\\n", "")
        for line in text.splitlines():
            typed = PROMPT.match(line) if language == "console" else None
            if language == "console" and typed is None:
                continue
            if text := COMMENT.sub("", line[typed.end() :] if typed else line).strip():
                on_the_pi = typed is not None and typed[1] == "~ #"
                yield Line(pages.title(page), re.sub(r"\s+", " ", text), on_the_pi)


def guides() -> Iterator[Path]:
    """Give the pages that tell what is; changes and decisions tell what was."""
    for page in pages.PAGES:
        if page.name != "CHANGELOG.md" and page.parent.name != "decisions":
            yield page


def report() -> str:
    """Return how many commands the pages show, and how many of them a test runs."""
    lines = [line for page in guides() for line in read(page)]
    reasons = [line.reason for line in lines if line.reason is not None]
    otherwise = sum("tests/" in reason for reason in reasons)
    blocks = [token for page in guides() for token in pages.tokens(page) if token.type == "fence"]
    yaml = sum(token.info == "yaml" for token in blocks)
    return (
        f"{len(lines)} commands on {len({line.page for line in lines})} pages: "
        f"{len(lines) - len(reasons)} are run as they are shown, {otherwise} in another form by "
        f"the test that is named, {len(reasons) - otherwise} by no test; {len(blocks)} blocks, "
        f"{yaml} of them YAML, each of which is read"
    )


if __name__ == "__main__":
    sys.stdout.write(f"{report()}\n")
