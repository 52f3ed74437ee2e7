"""Where the server keeps what it has, and what it reads before it starts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

DATA: Final = "/data/goosebit"
SECRET: Final = "/run/secrets/goosebit_admin"  # noqa: S105  # a path
SHORTEST: Final = 8
"""The least number of characters of the password: whoever has it updates all Pis' lists."""
_KEY_BYTES: Final = 32


def settings(data: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Return goosebit's settings for a server that keeps everything in `data`; `given` go before.

    The folder gets what is missing: the folders, and the key that signs sessions, so that a restart
    logs nobody out.
    """
    temporary = data / "tmp"
    shutil.rmtree(temporary, ignore_errors=True)  # of an upload that was cut off
    for folder in (temporary, data / "artifacts"):
        folder.mkdir(parents=True, exist_ok=True)
    return {
        "GOOSEBIT_DB_URI": f"sqlite://{data}/db.sqlite3",
        "GOOSEBIT_ARTIFACTS_DIR": str(data / "artifacts"),
        "GOOSEBIT_SECRET_KEY": _session_key(data / "session.key"),
        "TMPDIR": str(temporary),
        **given,
    }


def _session_key(path: Path) -> str:
    if not path.exists():
        draft = path.with_suffix(".new")
        draft.write_text(os.urandom(_KEY_BYTES).hex())
        draft.chmod(0o600)
        draft.rename(path)
    return path.read_text()


def password(path: Path) -> str:
    """Return the administrator's password; raises ValueError that says what is wrong."""
    try:
        found = path.read_text().strip()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    if len(found) < SHORTEST:
        raise ValueError(f"the secret goosebit_admin needs at least {SHORTEST} characters")
    return found
