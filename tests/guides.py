"""The commands that the guides show, and where each of them is run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.unit import pages

LANGUAGES = ("console", "sh", "shell", "bash")
PROMPT = re.compile(r"(\$|#|~ #) ")
COMMENT = re.compile(r"(^|\s+)#.*")

# Pages whose commands tests/system/guides runs, each in the page's order.
RUN = frozenset(
    {
        "docs/boards.md",
        "docs/buses.md",
        "docs/containers.md",
        "docs/data.md",
        "docs/deploy.md",
        "docs/disks.md",
        "docs/flash.md",
        "docs/modules.md",
        "docs/network.md",
        "docs/sensors.md",
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
    "docs/install.md": "tests/system/host/test_container.py",
    "examples/greenhouse/README.md": "tests/system/test_ci.py",
}
# Commands that no test runs as the page shows them, by how they begin, and why.
NOT_RUN: Mapping[str, Mapping[str, str]] = {
    "README.md": {"make": "they run these tests"},
    "docs/boards.md": {},
    "docs/containers.md": {
        "docker run": "needs an engine: tests/system/oci/test_engine.py",
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
    },
    "docs/disks.md": {"piimage flash /dev/nvme1n1": "needs such a disk"},
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
    "docs/modules.md": {
        "cat": "needs a kernel with the module: tests/system/modules/test_sensor_sim.py",
        "echo": "needs a kernel with the module: tests/system/modules/test_sensor_sim.py",
        "mkdir": "needs a kernel with the module: tests/system/modules/test_gpio.py",
        "mount": "needs a kernel with the module: tests/system/modules/test_gpio.py",
        "python3": "needs a kernel with the module: tests/system/modules/test_sensor_sim.py",
    },
    "docs/mutants.md": {"": "half an hour for each room; tests/unit/test_mutants.py"},
    "docs/network.md": {"sudo": "the network of the test has its own bridge and tap"},
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
        for start, reason in NOT_RUN.get(self.page, {}).items():
            if self.text.startswith(start):
                return reason
        return None


def read(page: Path) -> Iterator[Line]:
    """Give the commands of a page in its order; a script, which begins with ``#!``, is none."""
    for token in pages.tokens(page):
        language = token.info.partition(" ")[0]
        if token.type != "fence" or language not in LANGUAGES or token.content.startswith("#!"):
            continue
        for line in token.content.replace("\\\n", "").splitlines():
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
