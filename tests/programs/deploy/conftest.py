"""What the tests of deploys share."""

from __future__ import annotations

from tests.unit.deploy.conftest import _this_machine, ssh

__all__ = ["_this_machine", "ssh"]
