"""The secrets of a Pi, through its agent. Values go there and never come back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from piimage.deploy import answers
from piimage.deploy.link import Link
from piimage.errors import PiimageError

SECRETS: Final = "secrets-1"
"""The feature of agents whose system gives secrets to containers."""
_WAIT_S: Final = 3600
# Process 1 may take two minutes to end a service, and the agent waits a minute for its start.


@dataclass(frozen=True)
class Secret:
    """A secret that is set on the Pi, or that a container of it uses."""

    name: str
    used: tuple[str, ...]
    """The containers that use it, as KIND/FOLDER."""
    set: bool


@dataclass(frozen=True)
class Changed:
    """What followed from a secret that was set or removed."""

    used: tuple[str, ...]
    """The containers that use it, as KIND/FOLDER."""
    restarted: tuple[str, ...]
    """The services that were started again."""
    troubles: Mapping[str, str]
    """Why a service is not up, by its name."""
    temporary: bool
    """The change is lost at the next boot: /data is missing or could not be mounted."""


def list_secrets(link: Link) -> tuple[Secret, ...]:
    """Return the secrets; raises PiimageError ``deploy.cannot``."""
    _require(link)
    answer = link.ask("secrets")
    return link.checked(lambda: _secrets(answer))


def set_secret(link: Link, name: str, value: bytes) -> Changed:
    """Set a secret, and restart the services that use it; raises PiimageError ``deploy.cannot``."""
    _require(link)
    answer = link.ask("secret-set", name=name, value=value.hex(), timeout=_WAIT_S)
    return link.checked(lambda: _changed(answer))


def remove_secret(link: Link, name: str) -> Changed:
    """Remove a secret; raises PiimageError ``deploy.cannot``, ``deploy.refused``."""
    _require(link)
    answer = link.ask("secret-remove", name=name)
    return link.checked(lambda: _changed({"restarted": [], "troubles": {}, **answer}))


def _require(link: Link) -> None:
    if SECRETS not in link.features:
        raise PiimageError(
            "deploy.cannot", "the Pi's system is older and keeps no secrets",
            place=link.host.name, hint="build the file again and flash the card",
        )  # fmt: skip


def _secrets(answer: Mapping[str, Any]) -> tuple[Secret, ...]:
    rows = answer.get("secrets")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise answers.BadAnswer("secrets is not a list of mappings")
    return tuple(
        Secret(answers.text(row, "name"), answers.texts(row, "used"), row.get("set") is True)
        for row in rows
    )


def _changed(answer: Mapping[str, Any]) -> Changed:
    return Changed(
        answers.texts(answer, "used"),
        answers.texts(answer, "restarted"),
        answers.mapping(answer, "troubles"),
        answer.get("temporary") is True,
    )
