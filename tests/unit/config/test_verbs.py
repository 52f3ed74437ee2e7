"""The verbs check, new and schema, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from piimage.boards import board_names
from piimage.cli.main import execute
from piimage.lock import Lock, LockedImage, render_lock
from piimage.oci.layout import Layout
from piimage.oci.models import Execution, ImageConfig, RootFileSystem
from piimage.store import Store


def test_check_says_that_a_file_is_valid(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.yml"
    file.write_text("variables: [BOARD]\nboard: ${BOARD:-pi4}\nservices: [{name: a, image: x}]")
    assert execute(["check", str(file), "--set", "BOARD=pi5", "--set", "hostname=b"]) == 0
    assert capsys.readouterr().out == f"{file}: valid (board pi5, 1 service)\n"


def test_check_prints_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.yml"
    file.write_text("board: zero2w\nnetwork: { country: DE, wifi: { ssid: x } }\n")
    assert execute(["check", str(file), "--json"]) == 0
    warning, note = map(json.loads, capsys.readouterr().out.splitlines())
    assert warning["event"] == "Warning"
    assert warning["text"].startswith(f"{file}:2:31: 'network.wifi' on Raspberry Pi Zero 2 W: ")
    assert note == {"event": "Note", "text": f"{file}: valid (board zero2w, 1 service)"}


def test_check_prints_every_error_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.yml"
    file.write_text("bord: pi4\nhostname: a_b\n")
    assert execute(["check", str(file), "--json"]) == 2
    events = list(map(json.loads, capsys.readouterr().out.splitlines()))
    assert [(event["event"], event["code"], event["place"]) for event in events] == [
        ("error", "config.unknown-key", f"{file}:1:1"),
        ("error", "config.value", f"{file}:2:11"),
    ]
    assert {event["exit"] for event in events} == {2}
    assert events[0]["message"] == "unknown key 'bord'"


def test_check_prints_every_error_and_exits_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.yml"
    file.write_text("bord: pi4\nhostname: a_b\n")
    assert execute(["check", str(file)]) == 2
    assert capsys.readouterr().err == (
        f"{file}:1:1: unknown key 'bord' [config.unknown-key]; instead: board\n"
        f"{file}:2:11: 'a_b' is not a host name [config.value]; instead: letters, digits and '-' "
        "(RFC 1123), such as greenhouse\n"
    )


def test_check_lists_what_an_image_that_is_at_hand_asks_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIIMAGE_STORE", str(tmp_path / "store"))
    layout = Layout(Store(tmp_path / "store"))
    labels = {"org.mobyproject.config": '{"pid": "host", "binds": ["/:/host"]}'}
    config = ImageConfig(
        os="linux", architecture="arm64", config=Execution(labels=labels), rootfs=RootFileSystem()
    )
    manifest = layout.write_image(config, []).descriptor.digest
    lock = Lock(images=(LockedImage("r/tool:1", manifest, manifest),))
    (tmp_path / "a.lock").write_text(render_lock(lock))
    file = tmp_path / "a.yml"
    file.write_text("services:\n  - name: tool\n    image: r/tool:1\n")
    assert execute(["check", str(file)]) == 2
    assert capsys.readouterr().err == (
        f"{file}:3:12: the label of r/tool:1 asks for more than the defaults:\n"
        "    binds: /:/host\n"
        "    pid: host [images.not-granted]; to grant it, write in this entry: "
        "trust: ['binds: /:/host', 'pid: host']\n"
    )
    # The line of the message, as it stands.
    file.write_text(f"{file.read_text()}    trust: ['binds: /:/host', 'pid: host']\n")
    assert execute(["check", str(file)]) == 0


def test_check_makes_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIIMAGE_STORE", str(tmp_path / "store"))
    digest = f"sha256:{'a' * 64}"
    lock = Lock(images=(LockedImage("r/tool:1", digest, digest),))
    (tmp_path / "a.lock").write_text(render_lock(lock))
    (tmp_path / "a.yml").write_text("services: [{name: tool, image: r/tool:1}]\n")
    assert execute(["check", str(tmp_path / "a.yml")]) == 0
    assert not (tmp_path / "store").exists()
    # Nor does it take one that lacks the image for an answer.
    Store(tmp_path / "store")
    assert execute(["check", str(tmp_path / "a.yml")]) == 0


def test_check_reads_the_container_folders_as_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "service.yml").write_text("name: f\nentrypont: [a]")
    (tmp_path / "a.yml").write_text("services: [{name: f, build: f}]")
    assert execute(["check", str(tmp_path / "a.yml")]) == 2
    assert capsys.readouterr().err == (
        f"{tmp_path}/f/service.yml:2:1: unknown key 'entrypont' [config.unknown-key]; "
        "instead: entrypoint\n"
    )


def test_check_warns_of_what_some_pis_lack_and_refuses_what_none_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.yml"
    file.write_text("board: zero2w\nnetwork: { country: DE, wifi: { ssid: x } }\n")
    assert execute(["check", str(file)]) == 0
    out, err = capsys.readouterr()
    assert out == f"{file}: valid (board zero2w, 1 service)\n"
    assert err.startswith(f"warning: {file}:2:31: 'network.wifi' on Raspberry Pi Zero 2 W: ")
    file.write_text("board: pi5\nmodules: [pwm-rp1]\n")
    assert execute(["check", str(file)]) == 2
    assert capsys.readouterr().err.startswith(f"{file}:2:11: 'pwm-rp1' on Raspberry Pi 5: ")


@pytest.mark.parametrize("board", board_names())
def test_new_writes_a_file_that_check_likes(board: str, tmp_path: Path) -> None:
    file = tmp_path / f"{board}.yml"
    assert execute(["new", str(file), "--board", board]) == 0
    assert execute(["check", str(file)]) == 0
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


@pytest.mark.provokes("config.exists")
def test_new_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.yml"
    file.write_text("precious")
    assert execute(["new", str(file), "--board", "pi4"]) == 2
    assert file.read_text() == "precious"
    assert "exists already [config.exists]; give another name" in capsys.readouterr().err


@pytest.mark.provokes("config.unwritable")
def test_new_says_where_it_cannot_write(tmp_path: Path) -> None:
    assert execute(["new", str(tmp_path / "none" / "a.yml"), "--board", "pi4"]) == 1
    assert list(tmp_path.iterdir()) == []


def test_new_refuses_an_unknown_board(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["new", str(tmp_path / "a.yml"), "--board", "pi44"]) == 2
    assert "pi4" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_schema_prints_json_or_the_reference(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "piimage"
    assert execute(["schema", "--markdown"]) == 0
    assert capsys.readouterr().out.startswith("# The YAML file\n")
