"""A Pi that calls an update server: what it takes, what it refuses, and what it reports."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from piimage_agent import ranges
from piimage_agent.ddi import Server, Trouble
from piimage_agent.updates import Settings

from tests.programs.deploy.calling_pi import Called, CallingPi, release
from tests.programs.deploy.ddi_server import Ddi, ddi_server
from tests.programs.deploy.slots_stand import SlotsStand
from tests.unit.deploy.stand_in import sha256
from tests.unit.signing_keys import RSA, Pair, pair


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    folder = tmp_path_factory.mktemp("keys")
    return {name: pair(folder, name) for name in ("ours", "other")}


@pytest.fixture
def ddi() -> Iterator[Ddi]:
    with ddi_server() as found:
        yield found


@pytest.fixture
def pi(tmp_path: Path, keys: dict[str, Pair], ddi: Ddi) -> CallingPi:
    found = CallingPi(SlotsStand(tmp_path), keys["ours"])
    found.set_up(ddi.url)
    return found


def test_a_pi_without_an_offer_tells_what_it_is_and_writes_nothing_more(
    pi: CallingPi, ddi: Ddi
) -> None:
    ddi.sleep = "00:10:00"
    assert pi.call().sleep == 600
    assert ddi.attributes["hw_boardname"] == "qemu-virt"
    assert ddi.attributes["hw_revision"] == "greenhouse"
    assert ddi.attributes["slot"] == "2"
    assert ddi.attributes["sw_version"].startswith("1.1764374400.0+")
    before = pi.stand.pi.everything()
    assert pi.call().lines == []
    assert pi.stand.pi.everything() == before
    assert len(ddi.requests) == 2  # the attributes travel once


def test_a_version_is_written_tried_and_reported_once_it_is_kept(
    pi: CallingPi, ddi: Ddi, tmp_path: Path
) -> None:
    ddi.bundle = pi.system_bundle(tmp_path / "new.swu")
    size = ddi.bundle.stat().st_size
    first = pi.call()
    assert first.sleep == 5
    assert ddi.reports[0][0] == "download"
    assert ddi.reports[-1][:2] == ("proceeding", "none")
    assert ddi.sent < size
    calls = pi.call_until(lambda: ddi.bundle is None)
    assert calls == [] or calls[-1] == Called([], 300)
    assert ddi.reports[-1][:2] == ("closed", "success")
    assert pi.stand.autoboot.startswith("[all]\ntryboot_a_b=1\nboot_partition=3")
    assert pi.action()["reported"] == "yes"


def test_only_what_the_pi_lacks_travels(pi: CallingPi, ddi: Ddi, tmp_path: Path) -> None:
    ddi.bundle = pi.system_bundle(tmp_path / "new.swu")
    pi.call()
    new = 128_000  # one layer; the kernel, 64 kB, is on the Pi
    assert new < ddi.sent < new + 20_000


def test_a_version_that_is_undone_is_reported_with_its_cause(
    pi: CallingPi, ddi: Ddi, tmp_path: Path
) -> None:
    ddi.bundle = pi.system_bundle(tmp_path / "new.swu")
    pi.stand.pi.write("fate", "panic")
    pi.call_until(lambda: ddi.bundle is None)
    assert ddi.reports[-2:] == [
        ("rejected", "none", "the new version did not come as far as mounting /data"),
        ("closed", "failure", "the new version did not come as far as mounting /data"),
    ]


def test_a_report_that_was_lost_is_sent_again(pi: CallingPi, ddi: Ddi, tmp_path: Path) -> None:
    ddi.bundle, ddi.lost_reports = pi.system_bundle(tmp_path / "new.swu"), 2
    pi.stand.pi.write("fate", "panic")
    calls = pi.call_until(lambda: ddi.bundle is None)
    assert sum("status 503" in line for call in calls for line in call.lines) == 1
    assert ddi.reports[-1][:2] == ("closed", "failure")


def test_containers_alone_are_replaced_without_a_restart(
    pi: CallingPi, ddi: Ddi, tmp_path: Path
) -> None:
    ddi.bundle = pi.containers_bundle(tmp_path / "new.swu", release(pi, one="2", two="1"))
    pi.call()
    assert ddi.reports[-1][:2] == ("closed", "success")
    assert not (pi.stand.pi.root / "data/piimage/system/state").exists()
    assert pi.action()["state"] == "success"
    pi.call()  # the server learns the version that runs now
    assert ddi.attributes["sw_version"] == pi.action()["version"]


def test_containers_that_are_not_healthy_are_undone(
    pi: CallingPi, ddi: Ddi, tmp_path: Path
) -> None:
    before = pi.stand.pi.running
    ddi.bundle = pi.containers_bundle(tmp_path / "new.swu", release(pi, one="2 crash", two="1"))
    pi.call()
    assert ddi.reports[-1] == ("closed", "failure", "a service is not healthy")
    assert pi.stand.pi.running == before


def test_the_version_that_runs_is_reported_and_not_installed_again(
    pi: CallingPi, ddi: Ddi, tmp_path: Path
) -> None:
    made = pi.containers_bundle(tmp_path / "new.swu", release(pi, one="2", two="1"))
    ddi.bundle = made
    pi.call()
    ddi.bundle, switched = made, pi.stand.pi.text("switched")
    pi.call()
    assert ddi.reports[-1][:2] == ("closed", "success")
    assert pi.stand.pi.text("switched") == switched


def test_a_server_without_ranges_sends_the_whole_file_once(
    pi: CallingPi, ddi: Ddi, tmp_path: Path
) -> None:
    ddi.bundle, ddi.manner = pi.system_bundle(tmp_path / "new.swu"), "whole"
    size = ddi.bundle.stat().st_size
    pi.call_until(lambda: ddi.bundle is None)
    assert ddi.reports[-1][:2] == ("closed", "success")
    assert ddi.sent <= size
    assert sum(request.startswith("GET /file") for request in ddi.requests) == 1


def test_a_transfer_that_broke_off_goes_on_where_it_ended(
    pi: CallingPi, ddi: Ddi, tmp_path: Path
) -> None:
    ddi.bundle, ddi.manner = pi.system_bundle(tmp_path / "new.swu"), "cut"
    broken = pi.call()
    assert broken.lines[-1] == "the connection broke"
    ddi.manner, already = "honest", ddi.sent
    pi.call_until(lambda: ddi.bundle is None)
    assert ddi.reports[-1][:2] == ("closed", "success")
    assert ddi.sent - already < 128_000 - 30_000 + 20_000


def test_the_token_of_the_card_is_sent(pi: CallingPi, ddi: Ddi) -> None:
    ddi.token = "TargetToken secret"
    assert pi.call().lines == ["the server does not accept this Pi or its token"]
    pi.stand.pi.write("data/piimage/provision/settings", "UPDATES_TARGET_TOKEN='secret'\n")
    assert pi.call().sleep == 300
    ddi.token = "GatewayToken shared"
    pi.stand.pi.write("data/piimage/provision/settings", "UPDATES_GATEWAY_TOKEN='shared'\n")
    assert pi.call().sleep == 300


@pytest.mark.parametrize(
    "deployment",
    [{"download": "skip"}, {"update": "skip"}, {"maintenanceWindow": "unavailable"}],
)
def test_what_the_server_does_not_want_yet_is_left_alone(
    pi: CallingPi, ddi: Ddi, tmp_path: Path, deployment: dict[str, str]
) -> None:
    ddi.bundle, ddi.deployment = pi.system_bundle(tmp_path / "new.swu"), deployment
    assert pi.call().sleep == 300
    assert (ddi.sent, ddi.reports) == (0, [])


def test_a_soft_action_is_installed_like_a_forced_one(
    pi: CallingPi, ddi: Ddi, tmp_path: Path
) -> None:
    ddi.deployment = {"download": "attempt", "update": "attempt"}
    ddi.bundle = pi.containers_bundle(tmp_path / "new.swu", release(pi, one="2", two="1"))
    pi.call()
    assert ddi.reports[-1][:2] == ("closed", "success")


def test_an_action_that_is_cancelled_is_given_up(pi: CallingPi, ddi: Ddi, tmp_path: Path) -> None:
    ddi.bundle, ddi.manner = pi.system_bundle(tmp_path / "new.swu"), "cut"
    pi.call()
    assert pi.files()
    ddi.cancel = True
    assert pi.call().lines == ["the server has cancelled the update"]
    assert pi.files() == set()
    assert ddi.reports[-1] == ("closed", "success", "cancelled")


def test_what_is_installed_stays_though_the_server_cancels_it(
    pi: CallingPi, ddi: Ddi, tmp_path: Path
) -> None:
    ddi.bundle = pi.containers_bundle(tmp_path / "new.swu", release(pi, one="2", two="1"))
    pi.call()
    running, ddi.cancel = pi.stand.pi.running, True
    pi.call()
    assert ddi.reports[-1] == ("rejected", "none", "the version is installed already")
    assert pi.stand.pi.running == running


def test_an_action_that_is_cancelled_while_it_comes_is_given_up(
    pi: CallingPi, ddi: Ddi, tmp_path: Path
) -> None:
    ddi.bundle, ddi.cancel_after = pi.system_bundle(tmp_path / "new.swu"), 1
    before = pi.stand.slot(3)
    assert pi.call().lines[-1] == "the server has cancelled the update"
    assert ddi.reports[-1] == ("closed", "success", "cancelled")
    assert untouched(pi, before)
    assert pi.files() == set()
    assert pi.action()["state"] == ""


@pytest.mark.parametrize(("fate", "end"), [("", "success"), ("panic", "failure")])
def test_an_update_ends_though_the_server_takes_no_more_reports_on_the_way(
    pi: CallingPi, ddi: Ddi, tmp_path: Path, fate: str, end: str
) -> None:
    """hawkBit refuses the 1001st report of an action with 403, but never how it ended."""
    ddi.bundle, ddi.room = pi.system_bundle(tmp_path / "new.swu"), 0
    if fate:
        pi.stand.pi.write("fate", fate)
    pi.call_until(lambda: ddi.bundle is None)
    assert [report[:2] for report in ddi.reports] == [("closed", end)]


def test_progress_is_reported_when_it_has_changed(pi: CallingPi, ddi: Ddi, tmp_path: Path) -> None:
    ddi.bundle = pi.system_bundle(tmp_path / "new.swu")
    pi.call_until(lambda: ddi.bundle is None)
    progress = [report[2] for report in ddi.reports if report[2].startswith("Downloaded")]
    assert progress
    assert len(progress) == len(set(progress))


def test_a_name_that_hawkbit_would_refuse_is_shown_as_the_bundle_has_it(
    pi: CallingPi, ddi: Ddi, tmp_path: Path
) -> None:
    pi.set_manifest({**pi.manifest, "name": "gewächshaus~" + "x" * 200})
    ddi.bundle = pi.containers_bundle(tmp_path / "new.swu", release(pi, one="2", two="1"))
    pi.call()
    assert ddi.attributes["hw_revision"] == "gew_chshaus_" + "x" * 116
    assert ddi.reports[-1][:2] == ("closed", "success")


def test_a_report_of_an_action_that_the_server_has_forgotten_is_over(
    pi: CallingPi, ddi: Ddi, tmp_path: Path
) -> None:
    ddi.bundle, ddi.lost_reports = pi.system_bundle(tmp_path / "new.swu"), 1
    pi.stand.pi.write("fate", "panic")
    pi.call_until(lambda: pi.action().get("state") == "failure")
    ddi.bundle, ddi.action, ddi.lost_reports, ddi.gone = None, 8, 0, True
    pi.call()
    assert pi.action()["reported"] == "yes"


# --- https


@pytest.fixture(scope="module")
def of_server(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    """The certificates of two servers on this computer."""
    folder = tmp_path_factory.mktemp("servers")
    address = (*RSA, "-addext", "subjectAltName=IP:127.0.0.1")
    return {name: pair(folder, name, address) for name in ("ours", "other")}


def test_a_server_with_https_is_known_by_the_certificate_alone(
    tmp_path: Path, keys: dict[str, Pair], of_server: dict[str, Pair]
) -> None:
    pi = CallingPi(SlotsStand(tmp_path), keys["ours"])
    with ddi_server(of_server["ours"]) as ddi:
        pi.set_up(ddi.url)
        for name, answered in (("other", False), ("ours", True)):
            pi.stand.pi.write("etc/piimage/updates.pem", of_server[name].certificate.read_text())
            called = pi.call()
            assert (called.sleep == 300) is answered
            assert answered or "certificate verify failed" in called.lines[0]


# --- hostile and broken servers


def untouched(pi: CallingPi, before: bytes) -> bool:
    """Whether the other slot, the next start and the containers are what they were."""
    return pi.stand.slot(3) == before and pi.stand.autoboot.endswith("boot_partition=2")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("another key", "the key is not trusted"),
        ("older", "older than one that the Pi has kept"),
        ("another appliance", "is for shed on qemu-virt"),
        ("another board", "is for greenhouse on pi4"),
        ("no bundle", "cannot be used"),
    ],
)
def test_what_the_pi_must_not_take_is_rejected_before_anything_is_written(
    pi: CallingPi, ddi: Ddi, keys: dict[str, Pair], tmp_path: Path, kind: str, reason: str
) -> None:
    target, before = tmp_path / "new.swu", pi.stand.slot(3)
    match kind:
        case "another key":
            pi.system_bundle(target, keys["other"].signer)
        case "older":
            pi.system_bundle(target, order=(1, 1764374399))
        case "another appliance":
            pi.system_bundle(target, name="shed")
        case "another board":
            pi.system_bundle(target, board="pi4")
        case _:
            target.write_bytes(bytes(200_000))
    ddi.bundle = target
    pi.call()
    assert [report[:2] for report in ddi.reports] == [("rejected", "none"), ("closed", "failure")]
    assert reason in ddi.reports[0][2]
    assert untouched(pi, before)
    assert ddi.sent < 10_000
    assert pi.files() == set()


@pytest.mark.parametrize(
    ("manner", "message"),
    [
        ("shifted", "the server sends another range: 'bytes 1-4096/"),
        ("longer", "the server sends more or less than the range"),
        ("redirect", "the server leads to another address"),
        ("elsewhere", "the server names a file on another host: 'http://203.0.113.1/file'"),
    ],
)
def test_a_server_that_sends_another_thing_is_left_alone(
    pi: CallingPi, ddi: Ddi, tmp_path: Path, manner: str, message: str
) -> None:
    ddi.bundle, ddi.manner = pi.system_bundle(tmp_path / "new.swu"), manner
    before = pi.stand.slot(3)
    assert pi.call().lines[-1].startswith(message)
    assert untouched(pi, before)
    assert pi.files() == set()


def test_a_body_without_an_end_is_read_no_further_than_the_bundle_says(
    pi: CallingPi, ddi: Ddi, tmp_path: Path
) -> None:
    ddi.bundle, ddi.manner = pi.system_bundle(tmp_path / "new.swu"), "endless"
    size = ddi.bundle.stat().st_size
    pi.call_until(lambda: ddi.bundle is None)
    assert ddi.reports[-1][:2] == ("closed", "success")
    assert ddi.sent < size + (8 << 20)  # what fits into the buffers on the way


def test_bytes_that_differ_are_asked_for_once_more_and_then_rejected(
    pi: CallingPi, ddi: Ddi, tmp_path: Path
) -> None:
    """The head is honest: only a layer lies, as a proxy would that mixes two versions."""
    made = pi.containers_bundle(tmp_path / "new.swu", release(pi, one="2", two="1"))
    data = made.read_bytes()
    made.write_bytes(data.replace(b'"version": "2", "of"', b'"version": "3", "of"'))
    ddi.bundle = made
    pi.call()
    assert ddi.reports[-1][:2] == ("closed", "failure")
    assert "have another digest" in ddi.reports[-1][2]
    assert pi.stand.pi.running == pi.stand.pi.slot
    wrong = b'hsqs{"version": "3", "of": "one"}'
    assert f"{sha256(wrong)}.squashfs" not in pi.stand.pi.layers


def test_waits_grow_while_the_server_fails_and_end_when_it_answers(pi: CallingPi, ddi: Ddi) -> None:
    ddi.fails = [500] * 6
    calls = [pi.call() for _ in range(6)]
    waits = [call.sleep for call in calls]
    for number, wait in enumerate(waits):
        assert (10 << number) * 3 // 4 <= wait <= 10 << number
    assert [line for call in calls for line in call.lines] == ["the server answers with status 500"]
    assert pi.call().sleep == 300
    ddi.fails = [500]
    assert pi.call().sleep <= 10


def test_an_answer_that_breaks_off_after_its_head_says_nothing(
    pi: CallingPi, ddi: Ddi, tmp_path: Path
) -> None:
    """It is not an answer that offers nothing: the Pi calls again soon."""
    ddi.bundle = pi.containers_bundle(tmp_path / "new.swu", release(pi, one="2", two="1"))
    ddi.cut_answers = 1
    broken = pi.call()
    assert broken.lines == ["the connection broke"]
    assert broken.sleep <= 10
    pi.call()
    assert ddi.reports[-1][:2] == ("closed", "success")


def test_an_hour_of_errors_changes_nothing_and_brings_few_calls(
    pi: CallingPi, ddi: Ddi, tmp_path: Path
) -> None:
    """The clock is the sum of the waits that the Pi chose; then the server works again."""
    made = pi.containers_bundle(tmp_path / "new.swu", release(pi, one="2", two="1"))
    pi.call()
    ddi.bundle = made
    files, kept = pi.stand.pi.everything(), (pi.stand.slot(3), pi.stand.pi.running)
    clock, waits = 0, []
    while clock < 3600:
        ddi.fails = [(500, 429, 503)[len(waits) % 3]]
        waits.append(pi.call().sleep)
        clock += waits[-1]
    assert len(waits) <= 10
    assert all(later > earlier for earlier, later in pairwise(waits))
    written = {path for path, text in pi.stand.pi.everything().items() if text != files.get(path)}
    assert written == {"run/piimage/updates/failures"}  # in memory
    assert (pi.stand.slot(3), pi.stand.pi.running) == kept
    assert (ddi.sent, ddi.reports) == (0, [])
    pi.call()
    assert ddi.reports[-1][:2] == ("closed", "success")
    assert pi.stand.pi.running != kept[1]


def test_a_server_that_names_a_time_is_not_called_before(pi: CallingPi, ddi: Ddi) -> None:
    ddi.fails, ddi.headers = [429], {"Retry-After": "1200"}
    assert pi.call().sleep == 1200
    ddi.fails, ddi.headers = [429], {"Retry-After": "9" * 9}
    assert pi.call().sleep == 86400


def test_an_offer_that_failed_is_not_tried_again_at_once(
    pi: CallingPi, ddi: Ddi, keys: dict[str, Pair], tmp_path: Path
) -> None:
    made = pi.system_bundle(tmp_path / "new.swu", keys["other"].signer)
    ddi.bundle = made
    pi.call()
    ddi.bundle, number = made, len(ddi.requests)
    pi.call()
    assert [line for line in ddi.requests[number:] if "/file" in line] == []
    pi.stand.pi.write("proc/uptime", "100.0 100.0\n")
    pi.call()
    assert [line for line in ddi.requests[number:] if "/file" in line]


def test_a_version_that_is_offered_though_it_ended_is_installed_ever_less_often(
    pi: CallingPi, ddi: Ddi, tmp_path: Path
) -> None:
    """A server, or a Pi, may be wrong about what runs: the card must not wear for that."""
    made = pi.containers_bundle(tmp_path / "new.swu", release(pi, one="2 crash", two="1"))
    uptime, tries = 10, []
    for _ in range(9):
        number = len(ddi.requests)
        pi.stand.pi.write("proc/uptime", f"{uptime}.0 1.0\n")
        ddi.bundle = made
        pi.call()
        tries.append(any("/file" in line for line in ddi.requests[number:]))
        uptime += 61
    assert [number for number, tried in enumerate(tries) if tried] == [0, 1, 3, 7]


@pytest.mark.parametrize("slow", [True, False])
def test_a_server_that_sends_too_slowly_does_not_hold_a_pi(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, slow: bool
) -> None:
    monkeypatch.setattr(ranges, "_SLOW_S", 0.5 if slow else 60.0)
    with ddi_server() as ddi:
        ddi.bundle, ddi.manner = tmp_path / "file.swu", "slow"
        ddi.bundle.write_bytes(bytes(20))
        server = Server(Settings(ddi.url, "t", "pi", "", ""))
        remote = ranges.Remote(server, "/file", 20)
        if slow:
            with pytest.raises(Trouble, match="too slowly"):
                list(remote.read(0, 20))
        else:
            assert b"".join(remote.read(0, 20)) == bytes(20)


def test_an_answer_without_an_end_is_not_read(ddi: Ddi) -> None:
    ddi.raw = " " * (2 << 20)
    server = Server(Settings(ddi.url, "t", "pi", "", ""))
    with pytest.raises(Trouble, match="does not end"):
        server.ask("GET", server.base)
    assert server.received < 2 << 20


@pytest.mark.parametrize(
    "answer", ["[]", "nonsense", '{"config": {"polling": {"sleep": "soon"}}, "_links": []}']
)
def test_answers_that_are_no_answers_break_nothing(pi: CallingPi, ddi: Ddi, answer: str) -> None:
    ddi.raw = answer
    assert 5 <= pi.call().sleep <= 300


def test_a_pi_without_a_server_says_so(pi: CallingPi) -> None:
    pi.stand.pi.write("etc/piimage/updates", "")
    with pytest.raises(AssertionError, match="names no update server"):
        pi.call()
