"""Whether an update may begin: hawkBit's confirmations, and a person at the Pi."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from piimage_agent import ranges
from piimage_agent.ddi import Server
from piimage_agent.updates import Settings

from tests.programs.deploy.calling_pi import CallingPi, release
from tests.programs.deploy.ddi_server import Ddi, ddi_server
from tests.programs.deploy.slots_stand import SlotsStand
from tests.unit.signing_keys import Pair, pair


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    folder = tmp_path_factory.mktemp("keys")
    return {name: pair(folder, name) for name in ("ours", "other")}


@pytest.fixture
def ddi() -> Iterator[Ddi]:
    with ddi_server() as found:
        found.asks = True
        yield found


Make = Callable[[str], CallingPi]


@pytest.fixture
def make(tmp_path: Path, keys: dict[str, Pair], ddi: Ddi) -> Make:
    pi = CallingPi(SlotsStand(tmp_path), keys["ours"])
    pi.set_up(ddi.url)

    def set_up(confirm: str) -> CallingPi:
        pi.name_server(ddi.url, more=f"CONFIRM='{confirm}'\n")
        return pi

    return set_up


def offered(pi: CallingPi, ddi: Ddi, folder: Path) -> Path:
    ddi.bundle = pi.containers_bundle(folder / "new.swu", release(pi, one="2", two="1"))
    return ddi.bundle


def test_a_bundle_that_the_pi_would_take_is_confirmed_and_then_installed(
    make: Make, ddi: Ddi, tmp_path: Path
) -> None:
    pi = make("check")
    offered(pi, ddi, tmp_path)
    pi.call()
    assert ddi.confirmations == [("confirmed", "the bundle is signed and fits")]
    assert ddi.reports == []
    pi.call()
    assert ddi.reports[-1][:2] == ("closed", "success")


def test_a_bundle_that_the_pi_would_not_take_is_denied_once_with_the_reason(
    make: Make, ddi: Ddi, keys: dict[str, Pair], tmp_path: Path
) -> None:
    pi = make("check")
    ddi.bundle = pi.system_bundle(tmp_path / "new.swu", keys["other"].signer)
    calls = [pi.call() for _ in range(3)]
    assert [word for word, _ in ddi.confirmations] == ["denied"]
    assert "the key is not trusted" in ddi.confirmations[0][1]
    assert ddi.reports == []
    assert sum("/file" in request for request in ddi.requests) == 1
    assert [call.lines[0][:17] for call in calls if call.lines] == ["action 7: denied:"]


def test_the_server_confirms_by_itself_if_the_file_says_so(
    make: Make, ddi: Ddi, tmp_path: Path
) -> None:
    pi = make("never")
    pi.call()
    assert ddi.auto is True
    offered(pi, ddi, tmp_path)
    pi.call()
    assert ddi.reports[-1][:2] == ("closed", "success")
    number = len(ddi.requests)
    pi.call()
    assert not any("confirmation" in request for request in ddi.requests[number:])
    make("check").call()  # the next version of the file takes it back
    assert ddi.auto is False


def test_what_the_server_was_told_already_is_no_error(make: Make, ddi: Ddi) -> None:
    ddi.auto = True
    assert make("never").call().sleep == 300
    assert ddi.auto is True


def test_a_person_confirms_and_the_server_does_not(make: Make, ddi: Ddi, tmp_path: Path) -> None:
    ddi.auto, pi = True, make("person")
    offered(pi, ddi, tmp_path)
    assert pi.person("waiting") == (0, "no update waits for an answer\n")
    first, second = pi.call(), pi.call()
    assert ddi.auto is False
    pi.call()
    assert "waits: piimage-agent confirm, or deny REASON" in (first.lines + second.lines)[-1]
    assert pi.call().lines == []
    assert ddi.confirmations == []
    assert pi.person("waiting")[1].endswith(": waits for an answer\n")
    status, text = pi.person("confirm")
    assert status == 0
    assert text.endswith("is confirmed; the server learns it at the next call\n")
    assert pi.person("waiting")[1].endswith(": confirmed\n")
    pi.call()
    assert ddi.confirmations == [("confirmed", "by a person")]
    pi.call()
    assert ddi.reports[-1][:2] == ("closed", "success")


def test_a_person_who_refuses_may_confirm_later(make: Make, ddi: Ddi, tmp_path: Path) -> None:
    pi = make("person")
    offered(pi, ddi, tmp_path)
    pi.call()
    pi.person("deny", "the harvest", "is on")
    assert pi.person("waiting")[1].endswith(": denied: the harvest is on\n")
    for _ in range(2):
        pi.call()
    assert ddi.confirmations == [("denied", "the harvest is on")]
    pi.person("confirm")
    pi.call()
    assert ddi.confirmations[-1][0] == "confirmed"


def test_a_server_without_confirmations_waits_for_the_person_all_the_same(
    make: Make, ddi: Ddi, tmp_path: Path
) -> None:
    ddi.asks, ddi.auto, pi = False, None, make("person")
    offered(pi, ddi, tmp_path)
    calls = [pi.call() for _ in range(3)]
    assert sum(len(call.lines) for call in calls) == 1
    assert (ddi.reports, pi.stand.pi.running) == ([], pi.stand.pi.slot)
    assert sum("/file" in request for request in ddi.requests) == 1
    pi.person("confirm")
    pi.call()
    assert ddi.reports[-1][:2] == ("closed", "success")
    assert pi.person("waiting")[1] == "no update waits for an answer\n"


def test_a_person_who_refuses_there_ends_the_action(make: Make, ddi: Ddi, tmp_path: Path) -> None:
    ddi.asks, ddi.auto, pi = False, None, make("person")
    offered(pi, ddi, tmp_path)
    pi.call()
    pi.person("deny", "not now")
    pi.call()
    assert ddi.reports == [
        ("rejected", "none", "a person has refused it: not now"),
        ("closed", "failure", "a person has refused it: not now"),
    ]
    assert pi.stand.pi.running == pi.stand.pi.slot


def test_what_does_not_fit_is_rejected_without_a_person(
    make: Make, ddi: Ddi, keys: dict[str, Pair], tmp_path: Path
) -> None:
    ddi.asks, ddi.auto, pi = False, None, make("person")
    ddi.bundle = pi.system_bundle(tmp_path / "new.swu", keys["other"].signer)
    pi.call()
    assert ddi.reports[-1][:2] == ("closed", "failure")
    assert "the key is not trusted" in ddi.reports[-1][2]


def test_an_answer_needs_an_update_and_a_refusal_a_reason(make: Make) -> None:
    pi = make("person")
    assert pi.person("confirm") == (1, "piimage-agent: no update waits for an answer\n")
    assert pi.person("deny")[0] == 2
    assert pi.person("confirm", "please")[0] == 2


# --- the limit of the rate


@pytest.mark.parametrize(("rate", "least", "most"), [(200_000, 0.9, 4.0), (0, 0.0, 0.9)])
def test_a_bundle_comes_no_faster_than_the_file_allows(
    tmp_path: Path, rate: int, least: float, most: float
) -> None:
    with ddi_server() as ddi:
        ddi.bundle = tmp_path / "file.swu"
        ddi.bundle.write_bytes(bytes(200_000))
        server = Server(Settings(ddi.url, "t", "pi", "", "", rate=rate))
        began = time.monotonic()
        count = sum(
            len(piece) for piece in ranges.Remote(server, "/file", 200_000).read(0, 200_000)
        )
        assert count == 200_000
        assert least < time.monotonic() - began < most


def test_a_server_that_was_slow_is_not_fetched_from_faster_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, slept = [100.0], []
    monkeypatch.setattr(ranges.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(ranges.time, "sleep", slept.append)
    limit = ranges.Limit(10_000)
    limit.note(10_000)
    now[0] = 200.0
    limit.note(20_000)
    assert slept == [1.0, 2.0]


def test_the_limit_of_the_file_is_the_pis(make: Make, ddi: Ddi, tmp_path: Path) -> None:
    pi = make("check")
    pi.name_server(ddi.url, more="RATE='100000'\n")
    ddi.asks = False
    ddi.bundle = pi.system_bundle(tmp_path / "new.swu")
    began = time.monotonic()
    pi.call()
    assert time.monotonic() - began > 1.2  # 128 kB
