"""The agent, spoken to by the tool's own frames: requests of all kinds, and hostile ones."""

from __future__ import annotations

import ast
import os
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.unit.deploy.stand_in import AGENT, MACHINE, Stand, Talk, code, containers, layer, sha256

DEAR = {"dataclasses", "pathlib", "typing", "re", "inspect", "argparse", "logging"}
WHOLE = layer({"x": "y" * 1000})


@pytest.fixture
def pi(tmp_path: Path) -> Stand:
    return Stand(tmp_path / "pi", one="1", two="1")


def test_the_agent_imports_nothing_but_the_standard_library_and_little_of_it() -> None:
    # `seed` runs at boot, once in the life of a card. `poll`, which alone installs bundles, is a
    # process of its own, for which nobody waits.
    for path in (AGENT / "__main__.py", *AGENT.glob("piimage_agent/*.py")):
        tree = ast.parse(path.read_text(), feature_version=(3, 11))
        for node in ast.walk(tree):
            named = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                named = [node.module or ""]
            tops = {name.partition(".")[0] for name in named} - {
                "piimage_agent",
                "piimage_seed",
                "",
            }
            if path.name in {"install.py", "poll.py"}:
                tops -= {"piimage"}
            assert tops <= sys.stdlib_module_names, path
            checked = {"typing", "collections"}  # behind TYPE_CHECKING
            assert not (tops - checked) & DEAR, path


def test_a_greeting_names_protocols_and_features(pi: Stand) -> None:
    with pi.agent() as talk:
        answer = talk.greet()
    assert answer["ok"] is True
    assert answer["protocol"] == 1
    assert "put-resume" in str(answer["features"])


@pytest.mark.parametrize(
    ("protocols", "hint"), [([2, 3], "build the file again"), ([0, 0], "update")]
)
def test_a_tool_of_another_time_is_told_what_to_update(
    pi: Stand, protocols: list[int], hint: str
) -> None:
    with pi.agent() as talk:
        answer = talk.ask("hello", protocols=protocols)
    assert code(answer) == "protocol"
    assert hint in str(answer)


def test_nothing_is_answered_before_the_greeting(pi: Stand) -> None:
    with pi.agent() as talk:
        assert talk.refusal("ps") == "no-hello"


def test_a_request_is_not_taken_twice(pi: Stand) -> None:
    with pi.agent() as talk:
        talk.greet()
        talk.pipe.write({"op": "ps", "id": 1}, b"", 5)
        assert code(talk.pipe.read(5)[0]) == "replayed"


def test_a_layer_comes_in_whole_and_a_second_time_not_at_all(pi: Stand) -> None:
    with pi.agent() as talk:
        talk.greet()
        assert talk.put(WHOLE)["stored"] is True
        assert pi.layers == {f"{sha256(WHOLE)}.squashfs"}
        assert talk.ask("put", layer=sha256(WHOLE), size=len(WHOLE))["stored"] is True
        answer = talk.ask("have", layers=[sha256(WHOLE), pi.slot, "0" * 64])
        assert answer["have"] == [sha256(WHOLE), pi.slot]


def test_a_packed_layer_is_unpacked(pi: Stand) -> None:
    with pi.agent() as talk:
        talk.greet()
        talk.ask("put", layer=sha256(WHOLE), size=len(WHOLE), packing="zlib")
        talk.data(zlib.compress(WHOLE), last=True)
        assert talk.pipe.read(5)[0]["stored"] is True


def test_a_layer_goes_on_where_the_connection_was_lost(pi: Stand) -> None:
    digest = sha256(WHOLE)
    with pi.agent() as talk:
        talk.greet()
        talk.ask("put", layer=digest, size=len(WHOLE))
        talk.data(WHOLE[:400], last=False)
    with pi.agent() as talk:
        talk.greet()
        assert talk.ask("have", layers=[digest])["partial"] == {digest: 400}
        assert talk.ask("put", layer=digest, size=len(WHOLE))["offset"] == 400
        talk.data(WHOLE[400:], last=True)
        assert talk.pipe.read(5)[0]["stored"] is True
    assert (pi.root / f"data/piimage/layers/{digest}.squashfs").read_bytes() == WHOLE


@pytest.mark.parametrize(
    ("sent", "size", "expected"),
    [
        (WHOLE[:-1] + b"?", len(WHOLE), "wrong-digest"),
        (WHOLE[:-9], len(WHOLE), "short-layer"),
        (WHOLE + b"more", len(WHOLE), "bad-layer"),
        (WHOLE, 1 << 39, "too-large"),
    ],
)
def test_a_layer_that_is_not_what_its_name_says_is_refused(
    pi: Stand, sent: bytes, size: int, expected: str
) -> None:
    with pi.agent() as talk:
        talk.greet()
        answer = talk.put(sent, sha256(WHOLE), size)
        assert code(answer) == expected
        assert talk.ask("ps")["ok"] is True
    assert not [name for name in pi.layers if name.endswith(".squashfs")]


def test_a_layer_that_does_not_fit_is_refused_before_it_travels(
    pi: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    from piimage_agent.layers import incoming_layer
    from piimage_agent.refusal import Refused
    from piimage_agent.root import Root

    full = os.statvfs_result((4096, 4096, 100, 3, 3, 9, 9, 9, 0, 255))
    monkeypatch.setattr("piimage_agent.layers.os.statvfs", lambda path: full)
    with pytest.raises(Refused, match="no-space"):
        incoming_layer(Root(str(pi.root)), sha256(WHOLE), len(WHOLE))


def test_what_is_no_layer_is_refused_although_its_digest_is_right(pi: Stand) -> None:
    with pi.agent() as talk:
        talk.greet()
        assert code(talk.put(b"#!/bin/sh\nreboot\n")) == "bad-layer"
    assert pi.layers == set()


def test_a_bomb_is_stopped_at_the_announced_size(pi: Stand) -> None:
    with pi.agent() as talk:
        talk.greet()
        talk.ask("put", layer=sha256(WHOLE), size=len(WHOLE), packing="zlib")
        talk.data(zlib.compress(b"hsqs" + bytes(50_000_000))[: 1 << 18], last=True)
        assert code(talk.pipe.read(5)[0]) == "bad-layer"


@pytest.mark.parametrize("name", ["../../etc/passwd", "A" * 64, "0" * 63, "/" * 64, 7, None])
def test_a_layer_whose_name_is_no_digest_is_refused(pi: Stand, name: object) -> None:
    before = pi.everything()
    with pi.agent() as talk:
        talk.greet()
        assert talk.refusal("put", layer=name, size=10) == "bad-request"
        assert talk.refusal("have", layers=[name]) == "bad-request"
    assert pi.everything() == before


def test_a_link_in_the_place_of_a_layer_is_not_followed(pi: Stand, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    place = pi.root / "data/piimage/layers"
    place.mkdir()
    (place / f"{sha256(WHOLE)}.part").symlink_to(victim)
    with pi.agent() as talk:
        talk.greet()
        assert code(talk.put(WHOLE)) == "bad-store"
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("name", ["../one", "", ".", "three", "one/../two", 5, None])
def test_a_service_that_is_not_there_is_refused(pi: Stand, name: object) -> None:
    with pi.agent() as talk:
        talk.greet()
        for operation in ("logs", "start", "stop", "restart"):
            assert talk.refusal(operation, service=name) == "no-service"
    assert not (pi.root / "initctl").exists()


def test_logs_are_the_services_own(pi: Stand) -> None:
    with pi.agent() as talk:
        talk.greet()
        talk.tell("logs", service="one")
        assert talk.pipe.read(5) == ({"event": "log"}, b"one printed this\n")
        assert talk.pipe.read(5)[0] == {"ok": True}


def test_logs_from_a_moment_on_begin_with_the_lines_of_that_time(pi: Stand) -> None:
    (pi.root / "var/log/services/one/log").write_text("early\nlater\n")
    (pi.root / "var/log/times/one").mkdir(parents=True)
    (pi.root / "var/log/times/one/log").write_text("1000 0\n2000 6\n")
    (pi.root / "proc/uptime").write_text("3000.25 5000.00\n")
    for age, expected in ((2500, b"early\nlater\n"), (1500, b"later\n"), (989, b"")):
        with pi.agent() as talk:
            talk.greet()
            assert log_of(talk, age=age) == expected
            # Older tools send a time of their own clock.
            assert log_of(talk, since=int(time.time()) - age) == expected


def test_logs_of_a_span_end_with_the_lines_of_its_end(pi: Stand) -> None:
    logs, times = pi.root / "var/log/services/one", pi.root / "var/log/times/one"
    times.mkdir(parents=True)
    (logs / "log.1").write_text("first\nsecond\n")
    (times / "log.1").write_text("100 0\n1000 6\n")
    (logs / "log").write_text("third\nfourth\n")
    (times / "log").write_text("2000 0\n2900 6\n")
    (pi.root / "proc/uptime").write_text("3000.25 5000.00\n")
    with pi.agent() as talk:
        talk.greet()
        assert log_of(talk, until=50) == b"first\nsecond\nthird\nfourth\n"
        assert log_of(talk, until=500) == b"first\nsecond\nthird\n"
        assert log_of(talk, age=2500, until=500) == b"second\nthird\n"
        assert log_of(talk, age=2500, until=500, lines=1) == b"third\n"
        assert log_of(talk, until=1500) == b"first\nsecond\n"
        assert log_of(talk, until=2950) == b""
        assert talk.refusal("logs", service="one", until="soon") == "bad-request"


def log_of(talk: Talk, **fields: object) -> bytes:
    """What the agent shows of the log of `one`."""
    talk.tell("logs", service="one", **fields)
    pieces = []
    while (frame := talk.pipe.read(5))[0].get("event") == "log":
        pieces.append(frame[1])
    assert frame[0] == {"ok": True}
    return b"".join(pieces)


def test_followed_logs_go_on_over_a_new_file_of_the_ring(pi: Stand) -> None:
    log = pi.root / "var/log/services/one/log"
    with pi.agent() as talk:
        talk.greet()
        talk.tell("logs", service="one", follow=True)
        assert talk.pipe.read(5)[1] == b"one printed this\n"
        with log.open("a") as file:
            file.write("more\n")
        assert talk.pipe.read(5)[1] == b"more\n"
        log.rename(log.with_name("log.1"))
        log.write_text("new file\n")
        assert b"new file\n" in talk.pipe.read(5)[1]


def test_a_service_is_stopped_and_started(pi: Stand) -> None:
    with pi.agent() as talk:
        talk.greet()
        answer = talk.ask("restart", service="one")
    assert answer["trouble"] == ""
    assert pi.text("initctl") == "stop one\nstart one\n"


def test_a_switch_without_its_layers_is_refused(pi: Stand) -> None:
    new = layer(containers(one="2"))
    with pi.agent() as talk:
        talk.greet()
        wrong = {"containers": sha256(new), "layers": [], "arch": MACHINE, "base": pi.slot}
        assert talk.refusal("switch", **wrong, note="x") == "incomplete"
        talk.put(new)
        assert talk.refusal("switch", **{**wrong, "arch": "riscv64"}, note="x") == "architecture"
        assert talk.refusal("switch", **{**wrong, "base": "0" * 64}, note="x") == "base"
        assert talk.refusal("switch", **{**wrong, "layers": ["0" * 64]}, note="x") == "incomplete"
        assert talk.refusal("switch", **wrong, note="\x1b[2J") == "bad-request"
    assert not (pi.root / "switched").exists()


def test_one_deploy_at_a_time(pi: Stand) -> None:
    with pi.agent() as first, pi.agent() as second:
        first.greet()
        second.greet()
        first.ask("put", layer=sha256(WHOLE), size=len(WHOLE))
        assert second.refusal("put", layer="0" * 64, size=5) == "busy"


def test_a_tool_that_falls_silent_within_a_layer_gives_the_lock_back(pi: Stand) -> None:
    program = "import piimage_agent.frames as f; f.SILENCE = 0.2; import piimage_agent.main as m; "
    words = [
        sys.executable,
        "-c",
        f"{program}raise SystemExit(m.main(['serve', '--root', {str(pi.root)!r}]))",
    ]
    silent = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
        env={**os.environ, "PYTHONPATH": str(AGENT)},
    )  # fmt: skip
    talk = Talk(silent)
    talk.greet()
    talk.ask("put", layer=sha256(WHOLE), size=len(WHOLE))
    talk.data(WHOLE[:400], last=False)
    assert code(talk.pipe.read(5)[0]) == "bad-frame"
    assert silent.wait(timeout=20) == 1
    with pi.agent() as second:
        second.greet()
        assert second.put(WHOLE)["stored"] is True
    for stream in (silent.stdin, silent.stdout):
        assert stream is not None
        stream.close()


def test_what_ended_for_good_is_started_by_a_new_runner(pi: Stand) -> None:
    (pi.root / "run/piimage/services/one/state").write_text("exited\n")
    with pi.agent() as talk:
        talk.greet()
        assert talk.ask("start", service="one")["trouble"] == ""
    assert pi.text("initctl") == "stop one\nstart one\n"


def test_an_unknown_request_says_what_to_do(pi: Stand) -> None:
    with pi.agent() as talk:
        talk.greet()
        answer = talk.ask("fly")
    assert code(answer) == "unknown-operation"
    assert "flash" in str(answer)


@pytest.mark.parametrize("run", ["", "1", "../1", "x" * 20])
def test_a_change_that_never_was_cannot_be_watched(pi: Stand, run: str) -> None:
    with pi.agent() as talk:
        talk.greet()
        assert talk.refusal("watch", run=run) == "no-run"


def _fed(pi: Stand, data: bytes) -> tuple[int, bytes]:
    """Feed the agent with bytes; its exit status, and what it answered."""
    done = subprocess.run(pi.command(), input=data, capture_output=True, timeout=30, check=False)
    assert b"Traceback" not in done.stderr
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">2sII", b"\xb1\x1a", 1 << 31, 0),
        struct.pack(">2sII", b"\xb1\x1a", 2, 1 << 30) + b"{}",
        struct.pack(">2sII", b"\xb1\x1a", 40, 0) + b"{",
        struct.pack(">2sII", b"\xb1\x1a", 4, 0) + b"null",
        struct.pack(">2sII", b"\xb1\x1a", 100_000, 0) + b"[" * 100_000,
    ],
)
def test_garbage_is_named_and_ends_the_session(pi: Stand, data: bytes) -> None:
    before = pi.everything()
    status, response = _fed(pi, data)
    assert status == 1
    assert b"bad-frame" in response
    assert pi.everything() == before


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
OPERATIONS = st.sampled_from(
    ["hello", "slot", "status", "ps", "have", "put", "folders", "switch", "rollback", "watch", "gc",
     "logs", "start", "stop", "restart"]
)  # fmt: skip
KEYS = st.sampled_from(
    ["layers", "layer", "size", "containers", "base", "arch", "note", "run", "from", "service",
     "lines", "since", "age", "follow", "wait", "protocols", "packing"]
)  # fmt: skip


@settings(max_examples=examples(60))
@given(
    requests=st.lists(st.tuples(OPERATIONS, st.dictionaries(KEYS, JSON, max_size=5)), max_size=4)
)
def test_no_request_that_makes_no_sense_changes_anything(
    tmp_path_factory: pytest.TempPathFactory, requests: list[tuple[str, dict[str, object]]]
) -> None:
    from piimage_agent.frames import write_frame
    from piimage_agent.root import Root
    from piimage_agent.session import Session

    pi = Stand(tmp_path_factory.mktemp("fuzz") / "pi", one="1")
    before = pi.everything()
    (source, tool), (sink_end, sink) = os.pipe(), os.pipe()
    os.set_blocking(tool, True)
    write_frame(tool, {"op": "hello", "id": 1, "protocols": [1, 1]})
    for number, (operation, fields) in enumerate(requests):
        if operation in ("start", "stop", "restart") and fields.get("service") == "one":
            continue
        write_frame(tool, {**fields, "op": operation, "id": number + 2})
    os.close(tool)
    try:
        assert Session(Root(str(pi.root)), source, sink).serve() in (0, 1)
    finally:
        for fd in (source, sink, sink_end):
            os.close(fd)
    after = {path: data for path, data in pi.everything().items() if not path.endswith("/lock")}
    assert after == before
