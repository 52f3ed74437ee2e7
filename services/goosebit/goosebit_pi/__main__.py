"""``python3 -m goosebit_pi``: the update server, until SIGTERM."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from goosebit_pi.place import DATA, SECRET, password, settings


def main() -> int:
    """Serve; return the exit status."""
    try:
        secret = password(Path(os.environ.get("GOOSEBIT_ADMIN_FILE", SECRET)))
    except ValueError as error:
        sys.stderr.write(f"goosebit: {error}\n")
        return 1
    data = Path(os.environ.get("GOOSEBIT_DATA", DATA))
    os.environ.update(settings(data, os.environ))
    os.chdir(data)
    from goosebit_pi import server  # noqa: PLC0415  # goosebit reads its settings at once

    asyncio.run(server.prepare(os.environ.get("GOOSEBIT_ADMIN", "admin"), secret))
    server.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
