"""`piimage doctor`: the host tools that are missing, or what a Pi says of its hardware."""

from __future__ import annotations

import json as jsons
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Annotated, Any, Final

import typer

from piimage import tools
from piimage.cli.hosts import InventoryFile, JsonOut, SshConfig, finish, fleet, print_json
from piimage.cli.options import Verbose
from piimage.cli.output import listening, put, say
from piimage.deploy.text import printable
from piimage.doctor.examine import Examination
from piimage.doctor.findings import Finding, Verdict
from piimage.errors import MissingTool, PiimageError, raise_all
from piimage.run import Runner, clean_environment

EXAMPLE = "Example: piimage doctor --pi greenhouse.local > report.txt"

_LEFT_OUT: Final = (
    "Left out: serial numbers, MAC addresses but for the vendor's part, keys, passwords, settings."
)
_WIDTH: Final = 12
_NAME_WIDTH: Final = 22


def doctor(
    pi: Annotated[
        str | None, typer.Option("--pi", metavar="HOST", help="Report on a Pi that is up instead.")
    ] = None,
    inventory: InventoryFile = None,
    ssh_config: SshConfig = None,
    verbose: Verbose = False,
    json: JsonOut = False,
) -> None:
    """Show which host tools are missing and how to get them; exit with 3 if any is.

    With --pi, print what a Pi's hardware is like, with verdicts: a report to send to somebody who
    helps (docs/hardware.md). Exit with 1 if something is broken; what to look at is no error.
    """
    if pi is None:
        _tools(as_json=json)
        return
    with listening(verbose=verbose, as_json=False) as emit:
        results = fleet([pi], inventory, ssh_config, Runner(emit)).ask(
            lambda remote: remote.examine(time.time())
        )
    if json:
        print_json(results, _document)
    else:
        for one in results:
            if one.outcome is not None:
                say("\n".join(map(printable, _report(one.name, one.outcome))))
    finish(results, as_json=json)
    raise_all(
        error for one in results if one.outcome for error in _complaints(one.name, one.outcome)
    )


def _tools(*, as_json: bool) -> None:
    path = clean_environment()["PATH"]
    missing = sorted(name for name in tools.PACKAGES if shutil.which(name, path=path) is None)
    states = {name: "missing" if name in missing else "ok" for name in sorted(tools.PACKAGES)}
    if as_json:
        put(jsons.dumps({"tools": states}, indent=1) + "\n")
    else:
        say("\n".join(f"{state:8} {name}" for name, state in states.items()))
    if missing:
        packages = " ".join(sorted({tools.PACKAGES[name] for name in missing}))
        raise MissingTool(
            "doctor.missing-tools",
            f"{len(missing)} host tools are missing: {', '.join(missing)}",
            hint=f"install them with: apt-get install {packages}",
        )


def _report(host: str, found: Examination) -> Iterator[str]:
    yield f"piimage doctor: {host}"
    yield _LEFT_OUT
    for area in found.areas:
        yield ""
        yield area.name
        for finding in area.findings:
            yield from _lines(finding)
    counts = found.counts()
    shown = [verdict for verdict in Verdict if verdict is not Verdict.TOLD]
    yield ""
    yield ", ".join(f"{verdict.value}: {counts[verdict]}" for verdict in shown)


def _lines(finding: Finding) -> Iterator[str]:
    line = f"  {finding.verdict.value:{_WIDTH}}  {finding.name:{_NAME_WIDTH}}  {finding.value}"
    yield line.rstrip()
    if finding.advice:
        yield f"  {'':{_WIDTH}}  {'':{_NAME_WIDTH}}  -> {finding.advice}"


def _document(found: Examination) -> Mapping[str, Any]:
    findings = [
        {"area": area.name, **asdict(one), "verdict": one.verdict.value}
        for area in found.areas
        for one in area.findings
    ]
    return {"findings": findings, "facts": found.facts}


def _complaints(host: str, found: Examination) -> Iterator[PiimageError]:
    if trouble := found.broken():
        names = ", ".join(printable(one.name) for one in trouble)
        yield PiimageError(
            "doctor.broken", f"{len(trouble)} things are broken: {names}", place=host,
            hint="the report says what to do about each",
        )  # fmt: skip
