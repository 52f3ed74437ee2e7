"""A deploy to Kubernetes by kubectl: applied, waited for, and undone if it does not become ready.

Source: Kubernetes' documentation, kubectl apply, kubectl rollout.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from piimage.deploy.target import Tell
from piimage.deploy.text import printable
from piimage.errors import PiimageError
from piimage.run import NETWORK, Completed, Runner

_KIND: Final = "daemonset"
_LINE: Final = re.compile(r"daemonset\.apps/([a-z0-9-]+) (created|configured|unchanged)")
_KEPT: Final = (*NETWORK, "KUBECONFIG")
_MARGIN_S: Final = 30.0  # for kubectl itself, and an API server that is slow
_APPLY_S: Final = 120.0


@dataclass(frozen=True)
class Kubectl:
    """kubectl, with the cluster and the namespace of its current context."""

    runner: Runner

    def apply(self, manifests: str, wait: int, tell: Tell) -> tuple[str, ...]:
        """Apply DaemonSets, wait until each is ready, and return the names of those that changed.

        Raises MissingTool, and PiimageError ``deploy.kubectl`` if the cluster does not take all of
        them, or ``deploy.rolled-back`` if one is not ready within `wait` seconds. Those that
        changed are then what they were.
        """
        done = self._run(["apply", "-f", "-"], _APPLY_S, manifests.encode())
        results = dict(_LINE.findall(done.text))
        changed = {name: result for name, result in results.items() if result != "unchanged"}
        for name, result in results.items():
            tell(f"{name}: {result}")
        if done.status:
            self._undo(changed, wait, tell)
            raise PiimageError(
                "deploy.kubectl", f"kubectl does not apply the manifests: {_last(done)}",
                place="--apply", hint="what had changed is what it was; see kubectl config view",
            )  # fmt: skip
        for name in changed:
            status = self._status(name, wait)
            if status.status:
                self._undo(changed, wait, tell)
                raise PiimageError(
                    "deploy.rolled-back", f"{name} was not ready within {wait} s: {_last(status)}",
                    place="--apply",
                    hint=f"what had changed is what it was; see kubectl describe {_KIND}/{name}",
                )  # fmt: skip
            tell(f"{name}: ready")
        return tuple(changed)

    def _undo(self, changed: dict[str, str], wait: int, tell: Tell) -> None:
        """Bring back what was there before; what cannot be undone is said."""
        for name, result in changed.items():
            if result == "created":
                done = self._run(["delete", f"{_KIND}/{name}", "--wait=false"], _APPLY_S)
            else:
                done = self._run(["rollout", "undo", f"{_KIND}/{name}"], _APPLY_S)
                done = done if done.status else self._status(name, wait)
            tell(f"{name}: {_last(done) if done.status else 'undone'}")

    def _status(self, name: str, wait: int) -> Completed:
        words = ["rollout", "status", f"{_KIND}/{name}", f"--timeout={wait}s"]
        return self._run(words, wait + _MARGIN_S)

    def _run(self, words: list[str], timeout: float, stdin: bytes | None = None) -> Completed:
        runner = self.runner.passing(_KEPT)
        return runner.run(["kubectl", *words], stdin=stdin, timeout=timeout, accept=(0, 1))


def _last(done: Completed) -> str:
    """Return the last line that kubectl printed, of an error if there is one."""
    text = done.stderr.decode(errors="replace").strip() or done.text
    lines = [line for line in text.splitlines() if line.strip()]
    return printable(lines[-1])[:300] if lines else f"it ended with status {done.status}"
