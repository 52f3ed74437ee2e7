"""The command line of every sensor service: read, serve, selftest, options."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from sensorkit.clock import Clock, SystemClock
from sensorkit.errors import ConfigErrors
from sensorkit.measurement import Measurement, Sample
from sensorkit.options import Values, load
from sensorkit.outputs.lines import influx_line, json_line
from sensorkit.selftest import selftest
from sensorkit.service import Service, serve
from sensorkit.station import ChipState, Station

DONE, FAILED, WRONG_INPUT = 0, 1, 2


def main(service: Service, arguments: Sequence[str] | None = None) -> int:
    """Run the command line with this process's environment and streams."""
    return run(service, arguments, os.environ, sys.stdout, SystemClock())


def run(
    service: Service,
    arguments: Sequence[str] | None,
    environment: Mapping[str, str],
    out: TextIO,
    clock: Clock,
) -> int:
    """Return the exit code: 0 done, 1 a sensor failed, 2 the configuration is invalid."""
    parsed = _parser(service).parse_args(arguments)
    command = "selftest" if parsed.selftest else parsed.command
    if command == "options":
        out.write(describe_options(service))
        return DONE
    try:
        values = _values(service, parsed.config, environment)
    except ConfigErrors as error:
        sys.stderr.write("".join(f"{line}\n" for line in error.errors))
        return WRONG_INPUT
    if command == "serve":
        return _serve(service, values, clock)
    if command == "selftest":
        return DONE if selftest(service.plans(values, clock), out) else FAILED
    return _read(service, values, clock, out, once=parsed.once, form=parsed.form)


def _parser(service: Service) -> argparse.ArgumentParser:
    name = service.identity.name
    parser = argparse.ArgumentParser(
        prog=name,
        description=service.identity.title,
        epilog=f"Example: {service.prefix}BUS=i2c1 {name} read --once --json",
    )
    parser.add_argument("--config", metavar="FILE", help="read options from this YAML file")
    parser.add_argument("--selftest", action="store_true", help="same as the command selftest")
    parser.set_defaults(command="serve")
    commands = parser.add_subparsers(metavar="COMMAND")
    read = commands.add_parser("read", help="print samples")
    read.set_defaults(command="read")
    read.add_argument("--once", action="store_true", help="print one sample of each chip")
    forms = read.add_mutually_exclusive_group()
    forms.add_argument("--json", dest="form", action="store_const", const="json", help="JSON lines")
    forms.add_argument(
        "--influx", dest="form", action="store_const", const="influx", help="InfluxDB lines"
    )
    read.set_defaults(form="text")
    commands.add_parser("serve", help="sample and publish").set_defaults(command="serve")
    commands.add_parser(
        "selftest", help="check buses, chips and values, step by step"
    ).set_defaults(command="selftest")
    commands.add_parser(
        "options", help="list all options, with variables and defaults"
    ).set_defaults(command="options")
    return parser


def _values(service: Service, config: str | None, environment: Mapping[str, str]) -> Values:
    variable = f"{service.prefix}CONFIG"
    name = config or environment.get(variable)
    others = {k: v for k, v in environment.items() if k != variable}
    file = None
    if name:
        try:
            file = (name, Path(name).read_text())
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigErrors([f"{name}: cannot be read: {error}"]) from error
    return load(
        service.all_options(),
        others,
        prefix=service.prefix,
        file=file,
        problems=service.all_problems,
    )


def describe_options(service: Service) -> str:
    """Return a table of the options: key, variable, meaning and default."""
    rows = []
    for option in service.all_options():
        default = "" if option.default in (None, "") else f" [{_shown(option.default)}]"
        rows.append(f"{option.key:28} {option.variable:38} {option.help}{default}\n")
    return "".join(rows)


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, tuple):
        separator = ":" if isinstance(default[0], str) else ","
        return separator.join(_shown(part) for part in default)
    if isinstance(default, float):
        return f"{default:g}"
    name = getattr(default, "name", None) or getattr(default, "__name__", None)
    return str(name or default).lower().replace("registers", "")


def _serve(service: Service, values: Values, clock: Clock) -> int:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        serve(service, values, clock, stop)
    except OSError as error:
        host, port = values[service.outputs.listen]
        sys.stderr.write(f"cannot listen on {host}:{port}: {error.strerror}\n")
        return FAILED
    return DONE


class _Printer:
    """An output that prints samples, and reports failures on standard error."""

    def __init__(self, service: Service, out: TextIO, form: str) -> None:
        self._name = service.identity.name
        self._out = out
        self._form = form
        self.failed = False

    def publish(self, state: ChipState) -> None:
        """Print one chip's sample."""
        if not state.sample:
            self.failed = True
            sys.stderr.write(f"{state.name}: {state.health.reason}\n")
            return
        self._out.write(self._formatted(state.name, state.sample) + "\n")
        self._out.flush()

    def _formatted(self, chip: str, sample: Sample) -> str:
        if self._form == "json":
            return json_line(self._name, chip, sample)
        if self._form == "influx":
            return influx_line(self._name, chip, sample)
        return "\n".join(_readable(m) for m in sample)


def _readable(m: Measurement) -> str:
    form = m.channel.quantity.home_assistant
    return f"{m.channel.title:24}{m.value * form.factor:12.{form.digits}f} {form.unit}".rstrip()


def _read(
    service: Service, values: Values, clock: Clock, out: TextIO, *, once: bool, form: str
) -> int:
    printer = _Printer(service, out, form)
    station = Station(service.plans(values, clock), [printer], clock)
    try:
        wait = station.step()
        while not once:
            clock.sleep(wait)
            wait = station.step()
    except (KeyboardInterrupt, BrokenPipeError):
        return DONE
    return FAILED if printer.failed else DONE
