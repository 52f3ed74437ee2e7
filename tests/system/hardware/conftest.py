"""Debian's kernels for the shipped boards, fetched and unpacked once a run."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from piimage import events
from piimage.hardware.survey import Kernels, kernels, pis
from piimage.locking.inputs import Inputs
from piimage.run import Runner
from piimage.store import Store


@pytest.fixture(scope="session")
def sources(piimage_store: Path) -> Inputs:
    return Inputs(Store(piimage_store), Runner(), events.ignore, time.time)


@pytest.fixture(scope="session")
def used(sources: Inputs) -> Kernels:
    return kernels(pis(), sources)
