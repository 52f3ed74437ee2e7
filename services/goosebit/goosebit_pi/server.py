"""The server: its tables, its administrator, and goosebit behind a gate.

goosebit reads its settings when it is imported, so that `goosebit_pi.__main__` sets them first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import goosebit
import uvicorn
from aerich import Command
from argon2.exceptions import VerifyMismatchError
from goosebit.db.config import TORTOISE_CONF
from goosebit.db.models import User
from goosebit.settings import PWD_CXT, config
from tortoise import Tortoise

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_REFUSAL = b"The administrator is the one of the secret goosebit_admin.\n"


async def prepare(name: str, password: str) -> None:
    """Bring the tables up to date, and give the user `name` this password and all rights."""
    folder = Path(goosebit.__file__).parent / "db" / "migrations"
    async with Command(TORTOISE_CONF, "models", str(folder)) as command:
        await command.init()
        await command.upgrade(run_in_transaction=True)
        await _set_administrator(name, password)
    await Tortoise.close_connections()


async def _set_administrator(name: str, password: str) -> None:
    user = await User.get_or_none(username=name)
    if user is None:
        hashed = PWD_CXT.hash(password)
        await User.create(username=name, hashed_pwd=hashed, permissions=["*"])
        return
    try:
        PWD_CXT.verify(user.hashed_pwd, password)
    except VerifyMismatchError:
        user.hashed_pwd = PWD_CXT.hash(password)
        await user.save(update_fields=["hashed_pwd"])


async def gated(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer like goosebit, but refuse `/setup`: there 0.2.12 makes anyone an administrator."""
    path = str(scope.get("path", "")).rstrip("/")
    if scope["type"] == "http" and path == "/setup":
        headers = [(b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 403, "headers": headers})
        await send({"type": "http.response.body", "body": _REFUSAL})
        return
    await goosebit.app(scope, receive, send)


def serve() -> None:
    """Serve until SIGTERM."""
    uvicorn.run(gated, host="0.0.0.0", port=config.port, access_log=False)  # noqa: S104  # for the Pis
