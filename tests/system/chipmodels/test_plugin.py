"""The pytest plugin in other projects: the results of the guest's tests on the host."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from chipmodels.testing.engines import named

from tests.system.guests import engines

ROOT = Path(__file__).parents[3]
MODELS = ROOT / "libraries" / "chipmodels"
GUIDE = ROOT / "docs" / "driver-testing.md"

PROJECT = """
import os, time
import pytest

def test_here():
    assert not os.path.exists("/dev/i2c-7")

@pytest.fixture(scope="module")
def ends():
    yield
    print("module fixture ended")

@pytest.mark.parametrize("word", ["one", "two/3"])
def test_there(i2c_sim, ends, word, tmp_path, record_property):
    (tmp_path / "file").write_text(word)
    record_property("kernel", os.uname().release)
    assert os.path.exists(i2c_sim({}).path)
    print("printed", word)

def test_fails(i2c_sim):
    print("before it failed")
    value = 41
    assert value == 42

@pytest.mark.skip(reason="not today")
def test_skipped(i2c_sim): pass

@pytest.mark.xfail(reason="known")
def test_expected(spi_sim):
    raise ValueError

@pytest.fixture
def broken(): raise RuntimeError("no fixture")

def test_setup(broken, i2c_stub): pass

@pytest.mark.device_nodes
def test_marked():
    open(__file__ + ".left", "w").close()
    assert os.path.exists("/dev/cuse")

def test_here_again(): pass
"""

DEATHS = """
import ctypes, os, time
import pytest

def test_before(i2c_sim): pass

def test_that_ends_the_guest(i2c_sim):
    os.write(os.open("/dev/console", os.O_WRONLY), b"last words\\n")
    time.sleep(0.2)
    ctypes.CDLL(None).reboot(0x4321FEDC)
    time.sleep(100)

def test_after(i2c_sim): pass

def test_that_hangs(i2c_sim):
    time.sleep(1000)

def test_last(i2c_sim): pass
"""


@dataclass(frozen=True)
class Ran:
    """The results of a project's tests: outcome and text by name."""

    status: int
    output: str
    outcomes: dict[str, str]
    texts: dict[str, str]


def run(folder: Path, *arguments: str, **environment: str) -> Ran:
    results = folder / "results.xml"
    results.unlink(missing_ok=True)
    own = {"PYTHONPATH": str(MODELS), "PYTEST_DEBUG_TEMPROOT": str(folder)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "chipmodels.testing.plugin", "--rootdir", folder,
         "-p", "no:cacheprovider", "-q", f"--junitxml={results}", *arguments],
        cwd=folder, env=os.environ | own | environment,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    outcomes: dict[str, str] = {}
    texts: dict[str, str] = {}
    for case in ET.parse(results).getroot().iter("testcase"):
        name = case.attrib["name"]
        kinds = [child.tag for child in case if child.tag in {"failure", "error", "skipped"}]
        outcomes[name] = kinds[0] if kinds else "passed"
        texts[name] = "".join(case.itertext()) + "".join(
            " ".join(child.attrib.values()) for child in case.iter()
        )
    return Ran(done.returncode, done.stdout + done.stderr, outcomes, texts)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "test_mine.py").write_text(PROJECT)
    # Options that the guest must not apply again.
    (folder / "pytest.ini").write_text(
        "[pytest]\naddopts = -n 0 --durations=3\njunit_logging = all\ntimeout = 30\n"
    )
    return folder


@pytest.fixture(scope="module", params=engines())
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def ran(project: Path, engine: str) -> Ran:
    return run(project, f"--device-nodes={engine}")


def test_each_test_is_reported_as_if_it_had_run_here(ran: Ran) -> None:
    assert ran.outcomes == {
        "test_here": "passed",
        "test_there[one]": "passed",
        "test_there[two/3]": "passed",
        "test_fails": "failure",
        "test_skipped": "skipped",
        "test_expected": "skipped",
        "test_setup": "error",
        "test_marked": "passed",
        "test_here_again": "passed",
    }
    assert ran.status == 1
    assert "1 failed, 5 passed, 1 skipped, 1 xfailed, 1 error" in ran.output


def test_tracebacks_and_captured_output_come_along(ran: Ran) -> None:
    assert "assert value == 42" in ran.texts["test_fails"]
    assert "before it failed" in ran.texts["test_fails"]
    assert "RuntimeError: no fixture" in ran.texts["test_setup"]
    assert "printed one" in ran.texts["test_there[one]"]
    assert "not today" in ran.texts["test_skipped"]


def test_all_of_them_ran_in_a_guest_with_its_own_kernel(ran: Ran, engine: str) -> None:
    kernels = set(re.findall(r"kernel (\S+)", " ".join(ran.texts.values())))
    assert kernels == {named(engine).modules.name}
    assert f"device nodes: in {named(engine).title}" in ran.output


def test_what_tests_write_in_the_guest_does_not_stay(ran: Ran, project: Path) -> None:
    assert not list(project.glob("*.left"))


def test_chosen_tests_and_the_first_failure_end_as_usual(project: Path) -> None:
    ran = run(project, "-x", "-k", "there or fails or marked")
    assert ran.outcomes == {
        "test_there[one]": "passed",
        "test_there[two/3]": "passed",
        "test_fails": "failure",
    }
    assert "stopping after 1 failures" in ran.output


@pytest.mark.parametrize("distribution", ["load", "loadgroup"])
def test_xdist(project: Path, distribution: str) -> None:
    ran = run(project, "-n", "2", "--dist", distribution)
    assert len(ran.outcomes) == 9
    assert "1 failed, 5 passed, 1 skipped, 1 xfailed, 1 error" in ran.output
    assert f"device nodes: in {named(engines()[0]).title}" in ran.output


def test_a_guest_that_dies_or_hangs_is_an_error_of_that_test_alone(
    tmp_path: Path, engine: str
) -> None:
    (tmp_path / "test_deaths.py").write_text(DEATHS)
    ran = run(tmp_path, "-o", "device_nodes_timeout=12", f"--device-nodes={engine}")
    assert ran.outcomes == {
        "test_before": "passed",
        "test_that_ends_the_guest": "error",
        "test_after": "passed",
        "test_that_hangs": "error",
        "test_last": "passed",
    }
    assert "the guest ended; the last lines of its console" in ran.output
    assert "last words" in ran.output
    assert "no answer from the guest within 12 s" in ran.output


def test_without_a_guest_the_fix_is_named(project: Path) -> None:
    folder = str(Path(sys.executable).parent)
    ran = run(project, "-k", "there", "--device-nodes=guest", PATH=folder)
    assert set(ran.outcomes.values()) == {"error"}
    assert "user-mode Linux is not installed; install it: apt-get install " in ran.output
    assert re.search(r"qemu-system-\w+ is not installed; install it: apt-get install ", ran.output)


BROKEN_UML = """#!/bin/sh
if [ "$1" = --version ]; then echo VERSION; exit; fi
echo "Kernel panic - not syncing: put_fp_registers"
exit 134
"""


@pytest.fixture
def broken_uml(tmp_path: Path) -> dict[str, str]:
    """A fake user-mode Linux that dies as the real one does on a processor with AMX."""
    program = tmp_path / "bin" / "linux.uml"
    program.parent.mkdir()
    program.write_text(BROKEN_UML.replace("VERSION", named("uml").modules.name))
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    return {"PATH": path, "XDG_CACHE_HOME": str(tmp_path / "cache")}


def test_where_user_mode_linux_dies_qemu_takes_its_place(
    project: Path, broken_uml: dict[str, str]
) -> None:
    ran = run(project, "-k", "marked", "--device-nodes=auto", **broken_uml)
    assert ran.outcomes == {"test_marked": "passed"}, ran.output
    assert "device nodes: in QEMU with Linux" in ran.output


def test_where_no_engine_works_both_reasons_are_told(
    project: Path, broken_uml: dict[str, str], tmp_path: Path
) -> None:
    path = {"PATH": str(tmp_path / "bin")}
    ran = run(project, "-k", "marked", "--device-nodes=auto", **(broken_uml | path))
    assert ran.outcomes == {"test_marked": "error"}
    assert "does not start on this processor" in ran.output
    assert "not syncing: put_fp_registers" in ran.output
    assert re.search(r"qemu-system-\w+ is not installed", ran.output)


@pytest.mark.parametrize("engine", engines()[-1:], indirect=True)
def test_the_drivers_tests_pass_in_the_slowest_engine(engine: str) -> None:
    """The default engine runs them like other tests of this suite."""
    tests = "tests/system/sensorkit/test_device_nodes.py"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--device-nodes={engine}",
         "--durations=3", tests],
        cwd=ROOT, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    print(done.stdout)  # noqa: T201 -- the durations
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"device nodes: in {named(engine).title}" in done.stdout


HANGS = """
import os, time

def test_that_hangs(i2c_sim):
    os.write(os.open("/dev/console", os.O_WRONLY), b"hanging now\\n")
    time.sleep(1000)
"""


def test_no_guest_outlives_a_pytest_that_was_killed(tmp_path: Path, engine: str) -> None:
    (tmp_path / "test_hangs.py").write_text(HANGS)
    environment = {"PYTHONPATH": str(MODELS), "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "chipmodels.testing.plugin", "-s",
         f"--device-nodes={engine}", "-p", "no:cacheprovider", "--rootdir", tmp_path],
        cwd=tmp_path, env=os.environ | environment, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert any("hanging now" in line for line in process.stdout)
        assert guests(tmp_path)
        process.kill()
    end = time.monotonic() + 30
    while guests(tmp_path):
        assert time.monotonic() < end
        time.sleep(0.1)


def guests(folder: Path) -> list[str]:
    """The processes whose command names a guest's folder below `folder`."""
    mark = f"{folder}/chipmodels-guest-".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (process / "cmdline").read_bytes():
                found.append(process.name)
    return found


def test_on_the_host_what_is_missing_is_named(project: Path) -> None:
    ran = run(project, "-k", "there", "--device-nodes=host")
    assert set(ran.outcomes.values()) == {"failure"}
    assert "modprobe cuse" in ran.output


def guide_files() -> dict[str, str]:
    blocks = re.findall(r"```\w+\n# file: (\S+)\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    return dict(blocks)


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean environment with the built wheel, and the guide's project beside it."""
    folder = tmp_path_factory.mktemp("outside")
    source = folder / "source"
    shutil.copytree(MODELS, source, ignore=shutil.ignore_patterns(".*", "build", "*.egg-info"))
    pip = [sys.executable, "-m", "pip"]
    _run(*pip, "wheel", "-q", "--no-deps", "-w", str(folder / "wheels"), str(source))
    (wheel,) = (folder / "wheels").glob("*.whl")
    _run(sys.executable, "-m", "venv", str(folder / "venv"))
    python = str(folder / "venv" / "bin" / "python")
    _run(python, "-m", "pip", "install", "-q", f"{wheel}[pytest]", "smbus2")
    (folder / "project").mkdir()
    for name, text in guide_files().items():
        (folder / "project" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "project" / name).write_text(text)
    return folder


def test_the_guides_project_passes_with_the_built_wheel_alone(outside: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [outside / "venv" / "bin" / "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=outside / "project", env=environment, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert "5 passed" in done.stdout, done.stdout + done.stderr


def test_the_guides_workflow_runs_what_this_test_runs() -> None:
    workflow = guide_files()[".github/workflows/test.yml"]
    assert "piimage-chipmodels[pytest]" in workflow
    assert "user-mode-linux qemu-system-x86 linux-image-amd64 busybox-static" in workflow


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
