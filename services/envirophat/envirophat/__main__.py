"""``python3 -m envirophat``: the command line of the service."""

from __future__ import annotations

import sys

from sensorkit import cli
from sensorkit.chips import Buses

from envirophat import service


def main() -> int:
    """Run the command line and return the exit code."""
    return cli.main(service(Buses()))


if __name__ == "__main__":
    sys.exit(main())
