"""Copies of /data: what they have, what an interruption leaves, and what cannot be restored."""

from __future__ import annotations

import io
import os
import shlex
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from piimage.cli import main as cli
from piimage.deploy import backup
from tests.unit.deploy.stand_in import Stand, fake_ssh


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    """A Pi whose service `one` uses /data/web, and `two` nothing."""
    found = Stand(tmp_path / "pi", one="1", two="1")
    binds = '{"mounts": [{"destination": "/www", "source": "/data/web", "type": "bind"}]}'
    found.write(f"run/piimage/layers/{found.slot}/services/one/config.json", binds)
    runner = fake_ssh(tmp_path / "bin", {"pi": shlex.join(found.command())})
    monkeypatch.setenv("PATH", runner.environment["PATH"])
    return found


def fill(stand: Stand) -> Path:
    data = stand.root / "data"
    (data / "web/site").mkdir(parents=True)
    (data / "web/site").chmod(0o750)
    (data / "web/site/page").write_bytes(b"hello" * 200_000)
    (data / "web/site/page").chmod(0o640)
    os.utime(data / "web/site/page", (1_700_000_000, 1_700_000_000))
    (data / "web/empty").touch()
    (data / "web/latest").symlink_to("site/page")
    (data / "web" / ("n" * 200)).write_text("a long name")
    (data / "web/ünü").write_text("not ASCII")
    (data / "notes").write_text("a file directly below /data")
    os.mkfifo(data / "web/pipe")
    return data


def tree(folder: Path) -> dict[str, tuple[int, str | bytes]]:
    """Return mode and content of all but pipes and piimage's own folder, by path."""
    found: dict[str, tuple[int, str | bytes]] = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_fifo() or name.split("/", maxsplit=1)[0] in backup.OWN:
            continue
        content: str | bytes = b""
        if path.is_symlink():
            content = os.readlink(path)  # noqa: PTH115  # a text
        elif path.is_file():
            content = path.read_bytes()
        found[name] = path.lstat().st_mode, content
    return found


def archive(path: Path, members: Sequence[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(path, "w") as file:
        for member, content in members:
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return path


def test_a_backup_is_an_archive_that_tar_reads(
    stand: Stand, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = fill(stand)
    target = tmp_path / "pi.tar"
    assert cli.execute(["backup", "pi", str(target)]) == 0
    err = capsys.readouterr().err
    assert "left out 1 devices, sockets, pipes" in err
    assert f"{target}: 8 entries written" in err
    assert target.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.glob("pi.tar*")] == ["pi.tar"]
    with tarfile.open(target) as file:
        file.extractall(tmp_path / "out", filter="data")
        names = file.getnames()
    assert "notes" in names and not [name for name in names if name.startswith("piimage")]
    inside = {name: content for name, (_, content) in tree(data).items()}
    assert {name: content for name, (_, content) in tree(tmp_path / "out").items()} == inside


def test_of_docker_only_the_volumes_are_backed_up(stand: Stand, tmp_path: Path) -> None:
    docker = stand.root / "data/docker"
    for name in ("containers/1", "image/overlay2", "overlay2/1/diff", "volumes/shop/_data"):
        (docker / name).mkdir(parents=True)
        (docker / name / "file").write_text(name)
    target = tmp_path / "pi.tar"
    assert cli.execute(["backup", "pi", str(target)]) == 0
    with tarfile.open(target) as file:
        names = [name for name in file.getnames() if name.startswith("docker")]
    assert names == [
        "docker", "docker/volumes", "docker/volumes/shop", "docker/volumes/shop/_data",
        "docker/volumes/shop/_data/file",
    ]  # fmt: skip


def test_an_archive_brings_everything_back(
    stand: Stand, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = fill(stand)
    before = tree(data)
    target = tmp_path / "pi.tar"
    assert cli.execute(["backup", "pi", str(target)]) == 0
    (data / "web/site/page").write_text("spoilt")
    (data / "web/later").write_text("not in the archive")
    (data / "other").write_text("of another service")
    capsys.readouterr()
    assert cli.execute(["restore", "pi", str(target), "--yes"]) == 0
    assert "pi: restored notes, web" in capsys.readouterr().err
    assert tree(data) == {**before, "other": (0o100644, b"of another service")}
    assert (data / "web/site/page").stat().st_mtime == 1_700_000_000
    assert stand.text("initctl") == "stop one\nstart one\n"
    assert not (data / "piimage/restore").exists()


def test_the_same_data_gives_the_same_bytes(stand: Stand, tmp_path: Path) -> None:
    fill(stand)
    for name in ("a.tar", "b.tar"):
        assert cli.execute(["backup", "pi", str(tmp_path / name)]) == 0
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


@pytest.mark.parametrize("part", [0, 100, 512, 1024, 700_000, 1_003_000])
def test_an_interrupted_backup_goes_on_where_it_ended(
    part: int, stand: Stand, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(stand)
    whole, target = tmp_path / "whole.tar", tmp_path / "pi.tar"
    assert cli.execute(["backup", "pi", str(whole)]) == 0
    (tmp_path / "pi.tar.part").write_bytes(whole.read_bytes()[:part])
    capsys.readouterr()
    assert cli.execute(["backup", "pi", str(target)]) == 0
    assert target.read_bytes() == whole.read_bytes()
    assert ("went on after" in capsys.readouterr().err) == (part > 512)


def test_an_interrupted_restore_goes_on_where_it_ended(
    stand: Stand,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = fill(stand)
    stand.write("proc/sys/kernel/random/boot_id", "0d9c4ed6-0000\n")
    before = tree(data)
    target = tmp_path / "pi.tar"
    assert cli.execute(["backup", "pi", str(target)]) == 0
    (data / "notes").write_text("spoilt")
    send, calls = backup._send_member, []

    def broken(*words: object) -> None:
        calls.append(words)
        if len(calls) == 4:
            while not (data / "piimage/restore/done").exists():
                time.sleep(0.01)  # until the Pi has noted an entry
            raise KeyboardInterrupt
        send(*words)  # type: ignore[arg-type]  # passed on

    with monkeypatch.context() as patch:
        patch.setattr(backup, "_send_member", broken)
        assert cli.execute(["restore", "pi", str(target), "--yes"]) == 130
    assert (data / "notes").read_text() == "spoilt"
    assert not (stand.root / "initctl").exists()
    capsys.readouterr()
    assert cli.execute(["restore", "pi", str(target), "--yes"]) == 0
    assert "going on after" in capsys.readouterr().err
    assert tree(data) == before


def test_a_file_that_became_shorter_is_named(
    stand: Stand, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files of sysfs and proc say a larger size than they have: like a file that is cut off."""
    (stand.root / "data").mkdir(exist_ok=True)
    (stand.root / "data/size").symlink_to("/sys/kernel/mm/transparent_hugepage/enabled")
    from piimage_agent import backup as sending

    sent: list[tuple[dict[str, object], bytes]] = []
    entry: dict[str, object] = {"event": "entry", "path": "size", "kind": "file"}
    path = "/sys/kernel/mm/transparent_hugepage/enabled"
    assert sending._send_file(path, entry, lambda event, data: sent.append((event, data))) == 1
    (first, _), *_, (last, _) = sent
    assert sum(len(data) for _, data in sent) == first["size"] == Path(path).stat().st_size
    assert last["shrunk"] is True


@pytest.mark.provokes("backup.exists")
def test_a_backup_overwrites_nothing(
    stand: Stand, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "pi.tar"
    target.write_text("precious")
    assert cli.execute(["backup", "pi", str(target)]) == 2
    assert target.read_text() == "precious"
    assert "the file exists already" in capsys.readouterr().err


@pytest.mark.provokes("backup.unconfirmed")
def test_a_restore_is_confirmed(
    stand: Stand, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = archive(tmp_path / "a.tar", [(tarfile.TarInfo("web/page"), b"x")])
    assert cli.execute(["restore", "pi", str(path)]) == 2
    err = capsys.readouterr().err
    assert "this replaces on pi, below /data: web" in err
    assert "nothing was restored" in err


@pytest.mark.provokes("backup.not-an-archive")
@pytest.mark.parametrize("content", [b"", b"x" * 2000, b"\x1f\x8b\x08" + bytes(20), None])
def test_what_is_not_an_archive_is_refused(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.tar"
    if content is not None:
        path.write_bytes(content)
    assert cli.execute(["restore", "pi", str(path), "--yes"]) == 2
    assert "cannot be read as a tar archive" in capsys.readouterr().err


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


BAD = [
    member("../etc/passwd"), member("/etc/passwd"), member("web/../../x"), member("piimage/x"),
    member("lost+found/x"), member("ssh/key"), member("web/disk", tarfile.BLKTYPE),
    member("web/pipe", tarfile.FIFOTYPE), member("web/hard", tarfile.LNKTYPE, "web/page"),
]  # fmt: skip


@pytest.mark.provokes("backup.bad-entry")
def test_all_entries_that_cannot_be_restored_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = archive(tmp_path / "a.tar", [(member("fine"), b"x"), *((bad, b"") for bad in BAD)])
    assert cli.execute(["restore", "pi", str(path), "--yes"]) == 2
    err = capsys.readouterr().err
    assert err.count("backup.bad-entry") == len(BAD)
    assert "fine" not in err


def test_archives_of_tar_are_restored_too(stand: Stand, tmp_path: Path) -> None:
    """`tar -C /data -czf FILE .` writes names with ./ in front; folders may be missing."""
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as file:
        file.addfile(member(".", tarfile.DIRTYPE))
        content = member("./web/site/page")
        content.size = 3
        file.addfile(content, io.BytesIO(b"new"))
    assert cli.execute(["restore", "pi", str(path), "--yes"]) == 0
    assert (stand.root / "data/web/site/page").read_bytes() == b"new"


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([{"path": "../x", "kind": "file"}], "may not have the path"),
        ([{"path": "piimage/x", "kind": "file"}], "may not have the path"),
        ([{"path": "a", "kind": "socket"}], "an entry is a"),
        (
            [{"path": "a", "kind": "link", "target": "/etc"}, {"path": "a/x", "kind": "file"}],
            "lies in what is not a folder",
        ),
        (
            [{"path": "a", "kind": "file", "size": 5}, {"path": "b", "kind": "folder"}],
            "within a file",
        ),
    ],
)
def test_an_agent_lets_no_entry_out_of_its_place(
    entries: list[dict[str, object]], reason: str, stand: Stand
) -> None:
    from piimage_agent.refusal import Refused
    from piimage_agent.restore import Incoming
    from piimage_agent.root import Root

    (stand.root / "data/piimage").mkdir(parents=True, exist_ok=True)
    incoming = Incoming(Root(str(stand.root)), "a" * 64, 0)
    own = {
        "mode": 0o600,
        "uid": os.getuid(),
        "gid": os.getgid(),
        "mtime": 0,
        "target": "",
        "size": 0,
    }
    with pytest.raises(Refused, match=reason):
        for entry in entries:
            incoming.begin({**own, **entry})
    incoming.close()


def test_what_an_interrupted_exchange_left_aside_comes_back(stand: Stand, tmp_path: Path) -> None:
    """The power went after the old folder was moved and before the new one took its place."""
    data = fill(stand)
    place = data / "piimage/restore"
    (place / "old").mkdir(parents=True)
    (data / "web").rename(place / "old/web")
    (data / "notes").rename(place / "old/notes")
    (data / "notes").write_text("already the new one")
    path = archive(tmp_path / "a.tar", [(member("other"), b"x")])
    assert cli.execute(["restore", "pi", str(path), "--yes"]) == 0
    assert (data / "web/site/page").exists()
    assert (data / "notes").read_text() == "already the new one"
    assert (data / "other").read_text() == "x"
    assert not place.exists()


@pytest.mark.provokes("deploy.one-host")
def test_data_of_one_pi_at_a_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["backup", "a,b", str(tmp_path / "x")]) == 2
    assert "one Pi" in capsys.readouterr().err
