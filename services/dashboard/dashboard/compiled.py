"""``python3 -m dashboard.compiled``: starts the dashboard anew, from byte code.

An image has no byte code (docs/decisions/0022-python-containers.md), and compiling all modules
leaves five megabytes of the heap in pieces. So the modules are compiled to PYTHONPYCACHEPREFIX, a
folder in memory of 1.6 MB, and the program begins again in the same process.
"""

from __future__ import annotations

import os
import sys

import dashboard.__main__  # noqa: F401 -- compiles it, with all that it imports


def main() -> None:
    """Become the dashboard."""
    os.execv(sys.executable, [sys.executable, "-P", "-m", "dashboard"])  # noqa: S606 -- no shell


if __name__ == "__main__":
    main()
