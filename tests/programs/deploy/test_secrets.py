"""Secrets of Pis that are up: the verbs, and the agent behind them."""

from __future__ import annotations

import io
import json
import shlex
from pathlib import Path

import pytest

from piimage.cli import main as cli
from piimage.cli import secret_values
from piimage.deploy.secrets import SECRETS
from piimage.errors import PiimageError
from piimage.run import Runner
from piimage.store import Store
from tests.unit.deploy.stand_in import Stand, fake_ssh, release, target

STORE = "data/piimage/provision/secrets"
VALUE = "correct horse"


@pytest.fixture
def pis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Stand]:
    found = [Stand(tmp_path / name, one="1", two="1") for name in ("a", "b")]
    for stand in found:
        use(stand, "one", "token")
    commands = {stand.root.name: shlex.join(stand.command()) for stand in found}
    runner = fake_ssh(tmp_path / "bin", commands)
    monkeypatch.setenv("PATH", runner.environment["PATH"])
    (tmp_path / "value").write_text(f"{VALUE}\n")
    monkeypatch.chdir(tmp_path)
    return found


@pytest.fixture
def pi(tmp_path: Path) -> Stand:
    return Stand(tmp_path / "pi", one="1", two="1")


def use(stand: Stand, service: str, secrets: str) -> None:
    """Let a service use secrets."""
    path = stand.root / f"run/piimage/containers/services/{service}/container.env"
    path.write_text(f"{path.read_text()}SECRETS='{secrets}'\n")


def verb_output(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """Run a verb; return what it printed, which never has the value."""
    assert cli.execute(["secret", *words]) == code
    printed = capsys.readouterr()
    assert VALUE not in printed.out + printed.err
    return printed.out + printed.err


def test_a_secret_is_kept_for_root_and_its_services_are_restarted(
    pis: list[Stand], capsys: pytest.CaptureFixture[str]
) -> None:
    assert verb_output(capsys, "set", "a", "token", "--from", "value") == "a: set; restarted one\n"
    file = pis[0].root / STORE / "token"
    assert file.read_text() == VALUE
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in file.parent.iterdir()] == ["token"]
    assert pis[0].text("initctl") == "stop one\nstart one\n"


def test_one_command_sets_it_on_several(
    pis: list[Stand], capsys: pytest.CaptureFixture[str]
) -> None:
    verb_output(capsys, "set", "a,b", "token", "--from", "value")
    assert [stand.text(f"{STORE}/token") for stand in pis] == [VALUE, VALUE]


@pytest.mark.parametrize("state", ["stopped", "exited"])
def test_a_service_that_was_stopped_or_is_done_stays_down(
    pis: list[Stand], capsys: pytest.CaptureFixture[str], state: str
) -> None:
    pis[0].write("run/piimage/services/one/state", f"{state}\n")
    pis[0].write("run/piimage/services/one/exit", "0\n")
    out = verb_output(capsys, "set", "a", "token", "--from", "value")
    assert "one will get it at the next start" in out
    assert not (pis[0].root / "initctl").exists()


def test_a_secret_may_come_before_the_service_that_uses_it(
    pis: list[Stand], capsys: pytest.CaptureFixture[str]
) -> None:
    out = verb_output(capsys, "set", "a", "later", "--from", "value")
    assert "no container of this Pi uses it yet" in out


def test_what_a_pi_without_data_would_lose_is_said(
    pis: list[Stand], capsys: pytest.CaptureFixture[str]
) -> None:
    pis[0].write("run/piimage/data-is-temporary", "")
    assert "lost at the next boot" in verb_output(capsys, "set", "a", "token", "--from", "value")


@pytest.mark.provokes("deploy.not-up")
def test_a_service_that_fails_with_the_new_value_is_an_error(
    pis: list[Stand], capsys: pytest.CaptureFixture[str]
) -> None:
    (pis[0].root / "run/piimage/health/one").write_text("unhealthy\n")
    out = verb_output(capsys, "set", "a", "token", "--from", "value", code=1)
    assert "one is not up: its health check failed" in out
    assert pis[0].text(f"{STORE}/token") == VALUE


def test_the_list_has_names_and_users_and_no_values(
    pis: list[Stand], capsys: pytest.CaptureFixture[str]
) -> None:
    verb_output(capsys, "set", "a", "spare", "--from", "value")
    use(pis[0], "two", "token spare")
    rows = [line.split(maxsplit=2) for line in verb_output(capsys, "ls", "a").splitlines()]
    assert rows == [
        ["SECRET", "SET", "USED BY"], ["spare", "yes", "two"], ["token", "no", "one, two"],
    ]  # fmt: skip
    hosts = json.loads(verb_output(capsys, "ls", "a", "--json"))["hosts"]
    assert hosts["a"][0] == {"name": "spare", "used": ["services/two"], "set": True}
    assert verb_output(capsys, "ls", "a,b").splitlines()[0].split()[0] == "HOST"


def test_a_removed_secret_is_gone_and_its_users_are_named(
    pis: list[Stand], capsys: pytest.CaptureFixture[str]
) -> None:
    verb_output(capsys, "set", "a", "token", "--from", "value")
    assert "one had it" in verb_output(capsys, "rm", "a", "token")
    assert not (pis[0].root / STORE / "token").exists()
    assert "the secret 'token' is not set" in verb_output(capsys, "rm", "a", "token", code=1)


def test_a_service_that_waits_is_shown_with_the_command_that_sets_its_secret(
    pis: list[Stand], capsys: pytest.CaptureFixture[str]
) -> None:
    pis[0].write("run/piimage/services/one/missing", "token\n")
    command = "one waits for the secret token: piimage secret set a token"
    for verb in ("ps", "status"):
        assert cli.execute([verb, "a"]) == 0
        assert command in capsys.readouterr().out
    pis[0].write("run/piimage/health/one", "starting\n")
    assert cli.execute(["start", "a", "one"]) == 1
    assert "piimage secret set HOST token" in capsys.readouterr().err


@pytest.mark.provokes("deploy.cannot")
def test_an_older_agent_keeps_none(
    pis: list[Stand], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("piimage.deploy.secrets.SECRETS", f"{SECRETS}-of-a-later-time")
    for words in (["ls", "a"], ["set", "a", "token", "--from", "value"], ["rm", "a", "token"]):
        assert "keeps no secrets" in verb_output(capsys, *words, code=1)
    assert not (pis[0].root / STORE).exists()


@pytest.mark.provokes("secrets.bad-value")
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("../token", b"x", "'../token' is not a valid name"),
        (".new", b"x", "'.new' is not a valid name"),
        ("token", b"\n", "the value of token is empty"),
        ("token", bytes(65537), "the value of token is too long"),
        ("token", None, "the file cannot be read: No such file"),
    ],
)
def test_a_bad_value_is_refused_before_the_pi_is_asked(
    pis: list[Stand],
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: bytes | None,
    message: str,
) -> None:
    if content is not None:
        Path("bad").write_bytes(content)
    assert message in verb_output(capsys, "set", "a", name, "--from", "bad", code=2)
    assert not (pis[0].root / STORE).exists()


def test_the_agent_refuses_them_too(pis: list[Stand]) -> None:
    with pis[0].agent() as talk:
        talk.greet()
        for name, value in (("../x", "00"), ("x", ""), ("x", "zz"), (7, "00"), ("", "00")):
            assert talk.refusal("secret-set", name=name, value=value) == "bad-request", name
    assert not (pis[0].root / STORE).exists()


def test_the_value_may_come_from_standard_input(
    pis: list[Stand], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"from a pipe\r\n")))
    verb_output(capsys, "set", "a", "token")
    assert pis[0].text(f"{STORE}/token") == "from a pipe"


def test_on_a_terminal_a_prompt_asks_for_it(
    pis: list[Stand], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts: list[str] = []

    def getpass(prompt: str) -> str:
        prompts.append(prompt)
        return "typed é"

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr(secret_values, "getpass", getpass)
    verb_output(capsys, "set", "a", "token")
    assert prompts == ["value of token: "]
    assert pis[0].text(f"{STORE}/token") == "typed é"


@pytest.mark.provokes("deploy.rehearsal")
def test_a_deploy_of_a_service_whose_secret_is_not_set_stops_nothing(
    pi: Stand, ssh: Runner, store: Store
) -> None:
    made = release(store, one="2 needs-other", two="1")
    with pytest.raises(PiimageError, match="piimage secret set HOST other") as caught:
        target(ssh, store, "pi", made).deploy(lambda line: None)
    assert caught.value.code == "deploy.rehearsal"
    assert pi.running == pi.slot
    assert not (pi.root / "initctl").exists()
    pi.write(f"{STORE}/other", VALUE)
    target(ssh, store, "pi", made).deploy(lambda line: None)
    assert pi.running == made.containers
