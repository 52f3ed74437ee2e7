"""`piimage doctor`: the missing host tools, or a report on a Pi's hardware."""

from __future__ import annotations

import json as jsons
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final

import typer

from piimage import tools
from piimage.cli.hosts import InventoryFile, JsonOut, Query, SshConfig, finish, print_json
from piimage.cli.options import Verbose
from piimage.cli.output import put, say
from piimage.debian.release import KEYRING_PACKAGE, keyring
from piimage.deploy.text import printable
from piimage.distribution import install_hint
from piimage.doctor.examine import Examination
from piimage.doctor.findings import Finding, Verdict
from piimage.emulator import qemu
from piimage.errors import MissingTool, PiimageError, raise_all
from piimage.run import Runner, clean_environment

EXAMPLE = "Example: piimage doctor --pi greenhouse.local > report.txt"

_LEFT_OUT: Final = (
    "Not in this report: serial numbers, keys, passwords, settings, and the device part of MAC "
    "addresses."
)
_WIDTH: Final = 12
_NAME_WIDTH: Final = 22


def doctor(
    pi: Annotated[
        str | None,
        typer.Option(
            "--pi", metavar="HOST", help="Report on the hardware of this running Pi instead."
        ),
    ] = None,
    inventory: InventoryFile = None,
    ssh_config: SshConfig = None,
    verbose: Verbose = False,
    json: JsonOut = False,
) -> None:
    """Show which host tools are missing and how to install them; exit with 3 if one is missing.

    With --pi, print a report on a Pi's hardware with a verdict on each part, for example to attach
    to a question (docs/hardware.md). Exit with 1 if something is broken; warnings do not count.
    """
    if pi is None:
        _tools(as_json=json)
        return
    query = Query(pi, inventory, ssh_config, verbose, json)
    results = query.ask(lambda remote: remote.examine(time.time()))
    if json:
        print_json(results, _document)
    else:
        for result in results:
            if result.outcome is not None:
                say("\n".join(map(printable, _report(result.name, result.outcome))))
    finish(results, as_json=json)
    raise_all(
        error
        for result in results
        if result.outcome
        for error in _errors(result.name, result.outcome)
    )


def _tools(*, as_json: bool) -> None:
    old = _old_emulator()
    rows = [*_rows(old), _keyring_row()]
    if as_json:
        put(jsons.dumps({"tools": {row.name: row.state for row in rows}}, indent=1) + "\n")
    else:
        say("\n".join(f"{row.state:8} {row.name:{_NAME_WIDTH}} {row.needed_by}" for row in rows))
    missing = [row for row in rows if row.state == "missing"]
    errors = [_missing(missing)] if missing else []
    raise_all([*errors, old] if old else errors)


@dataclass(frozen=True)
class _Row:
    """What a host needs: its state, what needs it, and its Debian package.

    The state is ok, missing, old, or absent for what is optional.
    """

    name: str
    state: str
    needed_by: str
    package: str


def _rows(old: MissingTool | None) -> Iterator[_Row]:
    path = clean_environment()["PATH"]
    for name, tool in sorted(tools.TOOLS.items()):
        absent = "absent" if tool.optional else "missing"
        state = "ok" if shutil.which(name, path=path) else absent
        state = "old" if name == qemu.PROGRAM and old else state
        yield _Row(name, state, tool.needed_by, tool.package)


def _keyring_row() -> _Row:
    try:
        keyring()
    except PiimageError:
        state = "missing"
    else:
        state = "ok"
    return _Row("Debian's keyring", state, "lock, build", KEYRING_PACKAGE)


def _old_emulator() -> MissingTool | None:
    """Return the error of an emulator that is installed, but too old."""
    try:
        qemu.require_qemu(Runner())
    except MissingTool as error:
        return error if error.code == "emulator.old-qemu" else None
    return None


def _missing(rows: Sequence[_Row]) -> MissingTool:
    verb = "is" if len(rows) == 1 else "are"
    return MissingTool(
        "doctor.missing-tools",
        f"{', '.join(row.name for row in rows)} {verb} missing",
        hint=install_hint(row.package for row in rows),
    )


def _report(host: str, examination: Examination) -> Iterator[str]:
    yield f"piimage doctor: {host}"
    yield _LEFT_OUT
    for area in examination.areas:
        yield ""
        yield area.name
        for finding in area.findings:
            yield from _lines(finding)
    counts = examination.counts()
    shown = [verdict for verdict in Verdict if verdict is not Verdict.TOLD]
    yield ""
    yield ", ".join(f"{verdict.value}: {counts[verdict]}" for verdict in shown)


def _lines(finding: Finding) -> Iterator[str]:
    line = f"  {finding.verdict.value:{_WIDTH}}  {finding.name:{_NAME_WIDTH}}  {finding.value}"
    yield line.rstrip()
    if finding.advice:
        yield f"  {'':{_WIDTH}}  {'':{_NAME_WIDTH}}  -> {finding.advice}"


def _document(examination: Examination) -> Mapping[str, Any]:
    findings = [
        {"area": area.name, **asdict(finding), "verdict": finding.verdict.value}
        for area in examination.areas
        for finding in area.findings
    ]
    return {"findings": findings, "facts": examination.facts}


def _errors(host: str, examination: Examination) -> Iterator[PiimageError]:
    if broken := examination.broken():
        names = ", ".join(printable(finding.name) for finding in broken)
        yield PiimageError(
            "doctor.broken", f"{len(broken)} findings are broken: {names}", place=host,
            hint="the report says how to repair each of them",
        )  # fmt: skip
