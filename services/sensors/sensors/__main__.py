"""``python3 -m sensors``: the command line of the service."""

from __future__ import annotations

import sys

from sensorkit import cli
from sensorkit.kernel.devices import SYS

from sensors import service


def main() -> int:
    """Run the command line and return the exit code."""
    return cli.main(service(SYS))


if __name__ == "__main__":
    sys.exit(main())
