"""What `piimage new` puts into a file: who may log in, the host name, and the board."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from piimage.cli.main import execute
from piimage.config.load import load_all
from piimage.config.starting import Starting, starting_file

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINMuA9YrYAKvVyZbBUVe1nNPn6wGpIRoRJhrvSX3oJUu"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJSvPVzDpnMAY7jQg1PG3gjsYmbJzzxWJkPHZrb6rNEs"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The account of a new user: no keys, no agent."""
    folder = tmp_path / "home"
    (folder / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return folder


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A real ssh-agent with one key, whose public half is the file."""
    key, socket = tmp_path / "key", tmp_path / "agent"
    make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "of the agent", "-f", key]
    subprocess.run(make, check=True)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
    with subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL) as process:
        while not socket.exists():
            assert process.poll() is None
            os.sched_yield()
        subprocess.run(["ssh-add", "-q", key], check=True, env=dict(os.environ))
        yield key.with_suffix(".pub")
        process.terminate()


def new(file: Path, *words: str) -> int:
    return execute(["new", str(file), "--board", "pi4", *words])


def test_the_keys_of_the_account_may_log_in_and_are_named(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / ".ssh/id_ed25519.pub").write_text(f"{ED25519} ada@laptop\n")
    (home / ".ssh/id_ed25519").write_text("a private key is not read")
    (home / ".ssh/work.pub").write_text(f"{OTHER}\n")
    file = tmp_path / "greenhouse.yml"
    assert new(file) == 0
    assert load_all([file]).ssh.authorized_keys == (f"{ED25519} ada@laptop", OTHER)
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "may log in: ~/.ssh/id_ed25519.pub: ssh-ed25519 ada@laptop",
        "may log in: ~/.ssh/work.pub: ssh-ed25519",
        f"{file}: written; next: piimage build {file} -o out",
    ]
    assert err == ""


def test_the_keys_of_the_agent_may_log_in_each_once(
    home: Path, agent: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / ".ssh/a.pub").write_text(f"{ED25519} ada@laptop\n")
    file = tmp_path / "a.yml"
    assert new(file) == 0
    keys = load_all([file]).ssh.authorized_keys
    assert keys == (f"{ED25519} ada@laptop", agent.read_text().strip())
    assert "may log in: ssh-agent: ssh-ed25519 of the agent\n" in capsys.readouterr().out
    (home / ".ssh/a.pub").write_text(agent.read_text())
    assert new(tmp_path / "b.yml") == 0
    assert len(load_all([tmp_path / "b.yml"]).ssh.authorized_keys) == 1


def test_named_keys_are_the_only_ones(home: Path, tmp_path: Path) -> None:
    (home / ".ssh/id_ed25519.pub").write_text(f"{ED25519} ada@laptop\n")
    named = tmp_path / "named.pub"
    named.write_text(f"{OTHER} eve\n")
    assert new(tmp_path / "a.yml", "--ssh-key", str(named), "--ssh-key", f"{OTHER} again") == 0
    assert load_all([tmp_path / "a.yml"]).ssh.authorized_keys == (f"{OTHER} eve",)


def test_a_key_that_does_not_exist_writes_no_file(tmp_path: Path) -> None:
    assert new(tmp_path / "a.yml", "--ssh-key", str(tmp_path / "none.pub")) == 2
    assert not (tmp_path / "a.yml").exists()


def test_without_a_key_it_says_that_nobody_will_be_able_to_log_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert new(tmp_path / "a.yml") == 0
    assert "NOBODY WILL BE ABLE TO LOG IN" in capsys.readouterr().err
    assert "NOBODY CAN LOG IN YET" in (tmp_path / "a.yml").read_text()
    assert load_all([tmp_path / "a.yml"]).ssh.authorized_keys == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("-----BEGIN OPENSSH PRIVATE KEY-----\n", "THIS IS A PRIVATE KEY"),
        ("ssh-ed25519 AAAAC3Nza\n", "incomplete"),
        ("ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1l\n", "certificate"),
        (f'environment="A=b" {ED25519}\n', "no option environment"),
    ],
)
def test_a_file_that_the_pi_would_not_accept_is_skipped_with_its_reason(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, reason: str
) -> None:
    (home / ".ssh/a.pub").write_text(text)
    (home / ".ssh/b.pub").write_text(OTHER)
    assert new(tmp_path / "a.yml") == 0
    assert load_all([tmp_path / "a.yml"]).ssh.authorized_keys == (OTHER,)
    err = capsys.readouterr().err
    assert "~/.ssh/a.pub" in err
    assert reason in err


@pytest.mark.parametrize(
    ("name", "hostname"),
    [
        ("greenhouse.yml", "greenhouse"),
        ("My Pi_4!.yaml", "my-pi-4"),
        ("-.yml", "pi4"),
        ("山.yml", "pi4"),
        (f"{'a' * 62}-b.yml", "a" * 62),
    ],
)
def test_the_host_name_is_that_of_the_file(tmp_path: Path, name: str, hostname: str) -> None:
    assert new(tmp_path / name) == 0
    appliance = load_all([tmp_path / name])
    assert appliance.hostname == hostname
    assert appliance.ssh.host_key == str(tmp_path / f"secrets/{hostname}.key")


def test_a_board_without_a_wired_network_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["new", str(tmp_path / "a.yml"), "--board", "zero2w"]) == 0
    assert "has no wired network: set network:" in capsys.readouterr().err
    assert execute(["new", str(tmp_path / "b.yml"), "--board", "qemu-virt"]) == 0
    assert "wired" not in capsys.readouterr().err


class Terminal(io.StringIO):
    """A person who types this, and then ends the input."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_is_asked_for_the_board(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("pi5\n"))
    assert execute(["new", str(tmp_path / "a.yml")]) == 0
    assert load_all([tmp_path / "a.yml"]).board == "pi5"
    assert "pi3         Raspberry Pi 3" in capsys.readouterr().err


@pytest.mark.provokes("config.no-board")
@pytest.mark.parametrize("stdin", [Terminal(""), Terminal("\n"), io.StringIO("pi4\n")])
def test_without_an_answer_or_a_terminal_the_boards_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    stdin: io.StringIO,
) -> None:  # fmt: skip
    monkeypatch.setattr("sys.stdin", stdin)
    assert execute(["new", str(tmp_path / "a.yml")]) == 2
    assert (
        "add --board with one of: arm64-uefi, pi3, pi4, pi5, qemu-virt, zero2w"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "a.yml").exists()


@pytest.mark.slow
@example(comment="${")
@example(comment="${HOME} $${HOME}")
@given(comment=st.text(st.characters(min_codepoint=32, exclude_categories=("Cs",)), max_size=20))
def test_any_comment_of_a_key_arrives_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, comment: str
) -> None:
    line = f"{ED25519} {comment}".strip()
    file = tmp_path_factory.mktemp("a") / "a.yml"
    file.write_text(starting_file(Starting("pi4", "A board", "a.yml", "a", [line])))
    assert load_all([file]).ssh.authorized_keys == (line,)
