"""`piimage test --to`, by a real ssh and sshd; the Pi behind it is the agent on a scratch root."""

from __future__ import annotations

import shlex
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from piimage.cli import main as cli
from tests.system.deploy.machines import Sshd, sshd
from tests.unit.deploy.stand_in import Stand

FILE = """board: qemu-virt
services: [{{name: web, use: hello_world}}]
log: {{console: true}}
test:
  timeout: 20s
  checks:
    - {{name: words, run: [printf, '%s|', 'a b', $HOME], expect: 'a b|$HOME|'}}
    - {{name: a page, http: 'http://127.0.0.1:{port}/', expect: HELLO}}
    - {{name: the log, console: web printed this}}
    - {{name: status, run: exit 3, exit_code: 3}}
"""


class Hello(BaseHTTPRequestHandler):
    """Answers HELLO to each request."""

    def do_GET(self) -> None:  # http.server's name
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"HELLO\n")

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@dataclass(frozen=True)
class Bench:
    """A Pi behind sshd, and a file that it runs."""

    folder: Path
    pi: Stand
    server: Sshd

    @property
    def address(self) -> str:
        return f"root@127.0.0.1:{self.server.port}"

    def test(self, *options: str) -> int:
        words = ["test", str(self.folder / "shed.yml"), "--junit", str(self.folder / "out.xml")]
        return cli.execute([*words, "--ssh-config", str(self.server.config), *options])

    def report(self) -> dict[str, str]:
        """Each case of the report, and what became of it."""
        cases = ET.parse(self.folder / "out.xml").getroot()
        return {str(case.get("name")): case[0].tag if len(case) else "passed" for case in cases}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    pi = Stand(tmp_path / "pi", web="1")
    program = tmp_path / "login"
    program.write_text(
        '#!/bin/sh\n[ "$SSH_ORIGINAL_COMMAND" != "piimage-agent serve" ] ||\n'
        f'\texec {shlex.join(pi.command())}\nexec sh -c "$SSH_ORIGINAL_COMMAND"\n'
    )
    program.chmod(0o755)
    web = HTTPServer(("127.0.0.1", 0), Hello)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    (tmp_path / "shed.yml").write_text(FILE.format(port=web.server_port))
    with sshd(tmp_path, f"ForceCommand {program}") as server:
        yield Bench(tmp_path, pi, server)
    web.shutdown()
    web.server_close()


PASSED = dict.fromkeys(
    ("the system boots", "service web is up", "log in over SSH", "words", "a page", "the log",
     "status"), "passed",
)  # fmt: skip


def test_the_checks_of_a_file_run_on_a_pi(bench: Bench) -> None:
    assert bench.test("--to", bench.address) == 0
    assert bench.report() == PASSED


def test_the_pi_may_be_named_by_labgrids_file_with_its_key(bench: Bench) -> None:
    config = bench.server.config.read_text()
    bench.server.config.write_text(
        "\n".join(line for line in config.splitlines() if "Identit" not in line) + "\n"
    )
    (bench.folder / "lab.yaml").write_text(
        "targets:\n  shelf:\n    resources:\n    - NetworkService:\n        address: 127.0.0.1\n"
        f"        username: root\n        port: {bench.server.port}\n"
        "    drivers: {SSHDriver: {keyfile: user}}\n"
    )
    assert bench.test("--labgrid", str(bench.folder / "lab.yaml"), "--to", "shelf") == 0
    assert bench.report() == PASSED


def test_a_service_that_is_down_fails_and_the_checks_are_skipped(bench: Bench) -> None:
    bench.pi.write("run/piimage/services/web/state", "back-off\n")
    assert bench.test("--to", bench.address, "--timeout", "0") == 1
    found = bench.report()
    assert found["service web is up"] == "failure"
    assert {found[name] for name in ("words", "a page", "the log", "status")} == {"skipped"}


def test_a_host_whose_key_is_unknown_is_not_tested(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    (bench.folder / "known").write_text("")
    assert bench.test("--to", bench.address) == 1
    assert bench.report()["the system boots"] == "failure"
    assert "its host key is not known" in capsys.readouterr().out
