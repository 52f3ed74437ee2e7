"""The engines for a guest that start on this machine; tests of guests run in each of them."""

from __future__ import annotations

from chipmodels.testing.engines import starting

ENGINES = starting()
assert ENGINES, "no engine for a guest starts here: scripts/setup-host.sh installs them"
