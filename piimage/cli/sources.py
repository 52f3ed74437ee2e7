"""What the options of where inputs come from mean: the one place that opens archive and registries.

Apart from `session`, which imports all that builds: a small change of a container goes without.
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


def sources_of(origin: Origin, store: Store, runner: Runner, emit: Listener) -> Inputs:
    """Return what the options of `origin` say of where inputs come from."""
    access = Access(frozenset(origin.insecure), origin.certificates, origin.auth_file)
    return Inputs(
        store, runner, emit, time.time, origin.mirror, origin.snapshot, origin.offline, access,
        keyring=origin.keyring, index=origin.index,
        docker_host=os.environ.get("DOCKER_HOST"), builder=origin.builder,
    )  # fmt: skip
