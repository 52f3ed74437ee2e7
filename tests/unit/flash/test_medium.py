from __future__ import annotations

import errno
import fcntl
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from piimage.cli.flash import _confirm
from piimage.cli.provision import CardOptions, read_settings
from piimage.errors import DeviceRefused, InputError, PiimageError
from piimage.flash import elevate, medium, opener
from piimage.flash.medium import Medium
from piimage.flash.sysfs import Disk
from piimage.run import Runner


def failing(monkeypatch: pytest.MonkeyPatch, number: int) -> Medium:
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pwritev", fail)
    monkeypatch.setattr(os, "fdatasync", fail)
    return Medium("/dev/sdx", -1, 1 << 20, 512, None)


@pytest.mark.provokes("flash.gone")
@pytest.mark.parametrize("number", [errno.ENODEV, errno.ENXIO, errno.ENOMEDIUM])
def test_a_card_that_was_pulled_is_called_gone(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    card = failing(monkeypatch, number)
    with pytest.raises(PiimageError, match="was removed"):
        card.write(0, medium.buffer(512))
    with pytest.raises(PiimageError, match="was removed"):
        card.flush()


@pytest.mark.provokes("flash.io-error")
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EREMOTEIO])
def test_an_error_names_the_bytes(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    with pytest.raises(PiimageError, match="bytes 4096 to 4607 could not be written"):
        failing(monkeypatch, number).write(4096, medium.buffer(512))


def test_a_short_write_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "card"
    file.write_bytes(bytes(8192))
    real = os.pwritev
    monkeypatch.setattr(os, "pwritev", lambda d, b, o: real(d, [b[0][:1000]], o))
    descriptor = os.open(file, os.O_RDWR)
    data = medium.buffer(8192)
    data[:] = os.urandom(8192)
    Medium("card", descriptor, 8192, 512, None).write(0, data)
    os.close(descriptor)
    assert file.read_bytes() == bytes(data)


def test_a_device_that_ends_early_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "card"
    file.write_bytes(bytes(4096))
    descriptor = os.open(file, os.O_RDWR)
    with pytest.raises(PiimageError, match="the device ends there"):
        Medium("card", descriptor, 1 << 20, 512, None).read(4096, medium.buffer(512))
    os.close(descriptor)


@pytest.mark.provokes("flash.changed")
def test_another_size_is_another_card(tmp_path: Path) -> None:
    file = tmp_path / "card"
    file.write_bytes(bytes(4096))
    descriptor = os.open(file, os.O_RDWR)
    with pytest.raises(DeviceRefused, match="another card was inserted"):
        Medium("card", descriptor, 8192, 512, None).require_same_card()
    os.close(descriptor)


@pytest.mark.provokes("flash.changed")
def test_another_device_than_asked_about_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "card"
    file.write_bytes(bytes(4096))
    with (
        pytest.raises(DeviceRefused, match="another device or card"),
        medium.opened(str(file), 12345, None),
    ):
        raise AssertionError("it was opened")


@pytest.mark.provokes("flash.changed")
@pytest.mark.parametrize(("number", "sequence"), [(12345, None), (0, 7), (12345, 7)])
@pytest.mark.parametrize("way", [medium.opened, medium.pinned])
def test_the_number_and_the_medium_have_to_be_those_that_were_shown(
    tmp_path: Path, way: Callable[..., AbstractContextManager[object]], number: int,
    sequence: int | None,
) -> None:  # fmt: skip
    """A file has the number 0 and no sequence: it stands for what took the place of the card."""
    file = tmp_path / "card"
    file.write_bytes(bytes(4096))
    with (
        pytest.raises(DeviceRefused, match="another device or card"),
        way(str(file), number, sequence),
    ):
        raise AssertionError("it was opened")
    with way(str(file), 0, None):
        pass


@pytest.mark.provokes("flash.no-device")
def test_a_device_that_is_gone_is_not_kept(tmp_path: Path) -> None:
    with (
        pytest.raises(DeviceRefused, match="cannot be opened"),
        medium.pinned(str(tmp_path / "nothing"), 0, None),
    ):
        raise AssertionError("it was opened")


@pytest.mark.provokes("flash.held", "flash.no-permission", "flash.read-only", "flash.no-device")
def test_why_it_cannot_be_opened_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = {
        errno.EBUSY: "flash.held",
        errno.EACCES: "flash.no-permission",
        errno.EPERM: "flash.no-permission",
        errno.EROFS: "flash.read-only",
        errno.ENOENT: "flash.no-device",
    }
    todo = iter(numbers)

    def fail(*_: object) -> int:
        raise OSError(next(todo), "no")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fail)
        codes = []
        for _ in numbers:
            with pytest.raises(DeviceRefused) as caught:
                medium.open_device("/dev/sdx")
            codes.append(caught.value.code)
    assert codes == list(numbers.values())


def fake_sudo(folder: Path, script: str) -> Runner:
    sudo = folder / "sudo"
    sudo.write_text(f"#!/bin/sh\n{script}\n")
    sudo.chmod(0o755)
    return Runner().with_environment(PATH=f"{folder}:/usr/bin:/bin")


def test_sudo_is_asked_for_the_device_alone(tmp_path: Path) -> None:
    file = tmp_path / "card"
    file.write_bytes(bytes(4096))
    runner = fake_sudo(tmp_path, 'echo "$@" > ' + str(tmp_path / "asked") + '\nshift\nexec "$@"')
    descriptor = elevate.open_by_sudo(runner, str(file))
    assert os.fstat(descriptor).st_ino == file.stat().st_ino
    os.close(descriptor)
    words = (tmp_path / "asked").read_text().strip()
    assert words == f"-- {sys.executable} -I -S {opener.__file__} {file}"


@pytest.mark.provokes("flash.no-permission")
@pytest.mark.parametrize("script", ["exit 1", "exit 0"])
def test_a_sudo_that_refuses_is_reported(tmp_path: Path, script: str) -> None:
    with pytest.raises(DeviceRefused, match="sudo did not open it"):
        elevate.open_by_sudo(fake_sudo(tmp_path, script), "/dev/sdx")


def test_a_missing_sudo_is_reported(tmp_path: Path) -> None:
    runner = Runner().with_environment(PATH=str(tmp_path))
    with pytest.raises(DeviceRefused, match="sudo did not open it"):
        elevate.open_by_sudo(runner, "/dev/sdx")


@pytest.mark.provokes("flash.no-device")
def test_what_sudo_cannot_open_is_reported(tmp_path: Path) -> None:
    runner = fake_sudo(tmp_path, 'shift\nexec "$@"')
    with pytest.raises(DeviceRefused, match="cannot be opened") as caught:
        elevate.open_by_sudo(runner, str(tmp_path / "nothing"))
    assert caught.value.code == "flash.no-device"


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIf28zgCxMFQAAteRedlUZTydCxSlcegi76+cp8HY90y"
SDB = Disk("sdb", "8:16", 32 * 10**9, "usb", removable=True, read_only=False)


@pytest.mark.provokes("flash.unconfirmed")
def test_without_a_person_the_name_must_be_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    _confirm(SDB, "/dev/sdb", "/dev/sdb", [])
    with pytest.raises(InputError, match="--yes names /dev/sdc"):
        _confirm(SDB, "/dev/sdb", "/dev/sdc", [])
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    with pytest.raises(DeviceRefused, match="no terminal for the confirmation"):
        _confirm(SDB, "/dev/sdb", None, [])


@pytest.mark.provokes("flash.unconfirmed")
def test_a_person_types_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    answers = iter(["sdb", "/dev/sdb", "y"])
    monkeypatch.setattr("builtins.input", lambda _: next(answers))
    _confirm(SDB, "/dev/sdb", None, [])
    _confirm(SDB, "/dev/sdb", None, [])
    with pytest.raises(DeviceRefused, match="is not that of the device"):
        _confirm(SDB, "/dev/sdb", None, [])


def test_a_person_is_told_what_is_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    prompts: list[str] = []
    monkeypatch.setattr("builtins.input", lambda text: prompts.append(text) or "sdb")
    _confirm(SDB, "/dev/sdb", None, ["ext4 Backup", "ntfs"])
    assert "32.0 GB, usb, no model name, holds ext4 Backup, ntfs" in prompts[0]


@pytest.mark.provokes("flash.no-passphrase")
def test_a_passphrase_that_nobody_can_type_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    with pytest.raises(InputError, match="no terminal for the passphrase"):
        read_settings(CardOptions(wifi="garden"))


@pytest.mark.provokes("flash.bad-setting")
@pytest.mark.provokes("ssh.unreadable")
def test_options_become_settings(tmp_path: Path) -> None:
    mine, yours = f"{KEY} me", f'no-pty,from="192.0.2.0/24" {KEY} you'
    (tmp_path / "key.pub").write_text(f"{mine}\n\n# yours\n{yours}\r\n")
    (tmp_path / "psk").write_text("correct horse\n")
    settings = read_settings(
        CardOptions(
            hostname="shed", ssh_keys=[str(tmp_path / "key.pub")], wifi="garden",
            passphrase_file=tmp_path / "psk", values=["A=b=c"],
        )
    )  # fmt: skip
    assert settings.ssh_keys == (mine, yours)
    assert settings.wifi is not None
    assert settings.wifi.passphrase == "correct horse"
    assert settings.values == {"A": "b=c"}
    with pytest.raises(InputError, match="cannot be read"):
        read_settings(CardOptions(ssh_keys=[str(tmp_path / "nothing.pub")]))
    with pytest.raises(InputError, match="cannot be read"):
        read_settings(CardOptions(wifi="garden", passphrase_file=tmp_path / "nothing"))


def test_errors_name_the_bytes_from_where_it_went_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = iter([1000, 0])
    monkeypatch.setattr(os, "preadv", lambda *_: next(counts))
    card = Medium("/dev/sdx", -1, 1 << 20, 512, None)
    with pytest.raises(PiimageError, match="bytes 5096 to 8191 could not be read: the device ends"):
        card.read(4096, medium.buffer(4096))
    with pytest.raises(PiimageError, match="bytes 0 to 1048575 could not be written"):
        failing(monkeypatch, errno.EIO).flush()


def test_a_file_stands_for_a_card_in_whole_pages(tmp_path: Path) -> None:
    file = tmp_path / "card"
    file.write_bytes(bytes(8192))
    with medium.opened(str(file), 0, None) as card:
        assert (card.size, card.sector, card.sequence) == (8192, 4096, None)
        card.require_same_card()
        descriptor = card.descriptor
        assert os.get_inheritable(descriptor) is False
        other = os.open(file, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
        os.close(other)
    with pytest.raises(OSError):
        os.fstat(descriptor)
    with medium.pinned(str(file), 0, None) as device:
        assert device.path == Path(f"/proc/{os.getpid()}/fd/{device.descriptor}")
        file.rename(tmp_path / "moved")
        with device.exclusive() as card:
            assert card.path == str(file)
            assert os.fstat(card.descriptor).st_ino == (tmp_path / "moved").stat().st_ino
    with pytest.raises(OSError):
        os.fstat(device.descriptor)


@pytest.mark.provokes("flash.held")
def test_a_lock_that_udev_keeps_is_waited_for_five_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "card"
    file.write_bytes(bytes(4096))
    now = [100.0]
    monkeypatch.setattr(medium.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(medium.time, "sleep", lambda s: now.__setitem__(0, now[0] + s))
    holder = os.open(file, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    with pytest.raises(DeviceRefused, match="is in use"), medium.opened(str(file), 0, None):
        raise AssertionError("it was opened")
    assert 105 < now[0] < 105.2
    monkeypatch.setattr(medium.time, "sleep", lambda _: fcntl.flock(holder, fcntl.LOCK_UN))
    with medium.opened(str(file), 0, None):
        pass
    os.close(holder)
