"""What all tests share, those of piimage and those of the libraries."""

from __future__ import annotations

import gc
import os
import signal

import pytest
from hypothesis import HealthCheck, settings

from tests.examples import SHARE

# pytest explains a comparison in full where one of these is set: for the bytes of two disks, that
# takes hours. Its workers inherit the third name.
on_ci = {os.environ.pop(name, "") for name in ("CI", "BUILD_NUMBER")}
if on_ci != {""}:
    os.environ["PIIMAGE_ON_CI"] = "yes"

# Started in the background, a program ignores what Ctrl-C sends, and so do all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Time decides no test: machines are shared. CI repeats the same examples, people get new ones.
settings.register_profile(
    "full",
    deadline=None,
    derandomize="PIIMAGE_ON_CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("quick", settings.get_profile("full"), max_examples=100 // SHARE)
settings.load_profile("quick")  # `make test` has --hypothesis-profile=full

pytest_plugins = ["chipmodels.testing.plugin"]  # device nodes for the drivers' tests

gc.disable()  # until all tests are collected: they are many, stay, and make each pass slow


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """From here on, only what the tests themselves make is looked through for garbage."""
    gc.freeze()
    gc.set_threshold(50_000)  # tests make many objects and little garbage
    gc.enable()
