"""The only place that turns the options of an Origin into access to archive and registries.

It is not part of `session`, which imports everything that builds: `piimage pkg` needs only this.
"""

from __future__ import annotations

import os
import time

from piimage.cli.options import Origin
from piimage.events import Listener
from piimage.locking.inputs import Inputs
from piimage.oci.registry import Access
from piimage.run import Runner
from piimage.store import Store


def inputs_of(origin: Origin, store: Store, runner: Runner, emit: Listener) -> Inputs:
    """Return the inputs that the options of `origin` name."""
    access = Access(frozenset(origin.insecure), origin.certificates, origin.auth_file)
    return Inputs(
        store, runner, emit, time.time, origin.mirror, origin.snapshot, origin.offline, access,
        keyring=origin.keyring, index=origin.index,
        docker_host=os.environ.get("DOCKER_HOST"), builder=origin.builder,
    )  # fmt: skip
