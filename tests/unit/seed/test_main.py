"""The files on a card become those that the Pi reads, once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from piimage_seed import card
from piimage_seed.main import main

from tests.examples import examples
from tests.unit.seed.files import (
    COMMAND_LINE,
    KEY,
    META_DATA,
    NETWORK_CONFIG,
    NETWORK_CONFIG_OPEN,
    OTHER,
    PSK,
    USER_DATA,
)


class Card:
    """A folder with the card's files, and one that stands for the Pi's root."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder / "card", folder / "root"
        self.folder.mkdir()
        self.image("wifi.conf", "country=JP\n")

    def image(self, name: str, text: str) -> None:
        """Write a file of the image in etc/piimage."""
        path = self.root / "etc/piimage" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def put(self, **files: str | bytes) -> None:
        for name, text in files.items():
            data = text.encode() if isinstance(text, str) else text
            (self.folder / name.replace("_", "-")).write_bytes(data)

    def settings(self) -> dict[str, str]:
        folder = self.root / card.PROVISION
        if not folder.exists():
            return {}
        return {path.name: path.read_text() for path in folder.iterdir()}

    @property
    def note(self) -> Path:
        return self.root / card.NOTE


@pytest.fixture
def pi(tmp_path: Path) -> Card:
    return Card(tmp_path)


def apply(pi: Card, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str], list[str]]:
    """Return the exit status, what is printed on the console, and the files to remove."""
    status = main(str(pi.folder), str(pi.root))
    words = [line.split(" ", 1) for line in capsys.readouterr().out.splitlines()]
    return (
        status,
        [rest for verb, rest in words if verb == "say"],
        [rest for verb, rest in words if verb == "remove"],
    )


def test_imagers_files_become_the_settings_of_the_card(
    pi: Card, capsys: pytest.CaptureFixture[str]
) -> None:
    pi.put(user_data=USER_DATA, network_config=NETWORK_CONFIG, meta_data=META_DATA)
    (pi.folder / "cmdline.txt").write_text(COMMAND_LINE)
    assert apply(pi, capsys) == (
        0,
        [
            "settings of the card: host name orangery, 2 SSH keys for root, time zone "
            "Asia/Kolkata, 1 WiFi network, country NO",
            "settings of the card: log in as root; there is no user pi",
        ],
        ["user-data", "network-config", "meta-data", "cmdline.txt"],
    )
    assert pi.settings() == {
        "hostname": "orangery\n",
        "timezone": "Asia/Kolkata\n",
        "authorized_keys": f"{KEY}\n{OTHER}\n",
        "wifi.conf": f"network={{\n\tssid=636166c3a920227822\n\tscan_ssid=1\n\tpsk={PSK}\n}}\n",
        "country": "NO\n",
    }
    modes = {p.name: p.stat().st_mode & 0o777 for p in (pi.root / card.PROVISION).iterdir()}
    assert modes == {
        "hostname": 0o644, "timezone": 0o600, "authorized_keys": 0o600, "wifi.conf": 0o600,
        "country": 0o644,
    }  # fmt: skip
    assert pi.note.stat().st_mode & 0o777 == 0o600


def test_a_country_without_a_network_is_that_of_the_command_line(
    pi: Card, capsys: pytest.CaptureFixture[str]
) -> None:
    pi.put(user_data="#cloud-config\nhostname: shed\n")
    (pi.folder / "cmdline.txt").write_text(COMMAND_LINE)
    _, messages, _ = apply(pi, capsys)
    assert messages == ["settings of the card: host name shed, country AT"]
    assert pi.settings() == {"hostname": "shed\n", "country": "AT\n"}


@pytest.mark.parametrize("words", ["", "x", "cfg80211.ieee80211_regdom=XQ", "\0\xff"])
def test_a_command_line_without_a_country_sets_none(
    pi: Card, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    pi.put(user_data="#cloud-config\nhostname: shed\n")
    (pi.folder / "cmdline.txt").write_text(words)
    apply(pi, capsys)
    assert "country" not in pi.settings()


def test_what_the_files_do_not_say_stays(pi: Card, capsys: pytest.CaptureFixture[str]) -> None:
    card.write(f"{pi.root}/{card.PROVISION}/hostname", "old\n", 0o644)
    card.write(f"{pi.root}/{card.PROVISION}/settings", "A=1\n", 0o600)
    pi.put(network_config=NETWORK_CONFIG_OPEN)
    apply(pi, capsys)
    kept = {"hostname": "old\n", "settings": "A=1\n"}
    assert pi.settings() == {
        **kept, "wifi.conf": "network={\n\tssid=677565737473\n\tkey_mgmt=NONE\n}\n",
    }  # fmt: skip


def test_files_that_are_still_there_are_not_applied_again(
    pi: Card, capsys: pytest.CaptureFixture[str]
) -> None:
    pi.put(user_data=USER_DATA, meta_data=META_DATA)
    apply(pi, capsys)
    (pi.root / card.PROVISION / "hostname").write_text("renamed\n")
    _, messages, removed = apply(pi, capsys)
    assert messages == ["user-data: was applied before, and is still on the card"]
    assert removed == ["user-data", "meta-data", "cmdline.txt"]
    assert pi.settings()["hostname"] == "renamed\n"


def test_another_file_beside_one_that_is_still_there_is_applied(
    pi: Card, capsys: pytest.CaptureFixture[str]
) -> None:
    pi.put(user_data="#cloud-config\nhostname: shed\n")
    apply(pi, capsys)
    pi.put(network_config=NETWORK_CONFIG_OPEN)
    _, messages, _ = apply(pi, capsys)
    assert messages == [
        "user-data: was applied before, and is still on the card",
        "settings of the card: 1 WiFi network",
    ]
    pi.put(user_data="#cloud-config\nhostname: barn\n")
    _, messages, _ = apply(pi, capsys)
    assert messages == [
        "network-config: was applied before, and is still on the card",
        "settings of the card: host name barn",
    ]


def test_a_file_that_cannot_be_read_stays_for_somebody_to_correct_it(
    pi: Card, capsys: pytest.CaptureFixture[str]
) -> None:
    pi.put(user_data="#cloud-config\nhostname: 'shed\n", network_config=NETWORK_CONFIG_OPEN)
    pi.put(meta_data="local-hostname: barn\n")
    _, messages, removed = apply(pi, capsys)
    assert messages == [
        "user-data: not applied, and stays on the card: line 3 is not valid YAML",
        "settings of the card: 1 WiFi network",
    ]
    assert removed == ["network-config"]
    assert list(pi.settings()) == ["wifi.conf"]
    (pi.folder / "network-config").unlink()
    pi.put(user_data="#cloud-config\nlocale: de_AT\n")
    assert apply(pi, capsys)[1] == ["settings of the card: host name barn"]


def test_a_fixed_address_is_written_and_taken_back(
    pi: Card, capsys: pytest.CaptureFixture[str]
) -> None:
    pi.put(network_config="ethernets: {eth0: {addresses: [10.0.0.2/24]}}\n")
    assert apply(pi, capsys)[1] == ["settings of the card: eth0 10.0.0.2/24"]
    assert pi.settings()["network"].startswith("INTERFACE='eth0'\nADDRESS='10.0.0.2/24'\n")
    pi.put(network_config="ethernets: {eth0: {dhcp4: true}}\n")
    assert apply(pi, capsys)[1] == ["settings of the card: none"]
    assert pi.settings() == {}


def test_the_fixed_address_of_the_image_outlasts_imagers_dhcp(
    pi: Card, capsys: pytest.CaptureFixture[str]
) -> None:
    pi.image("network", "INTERFACE='eth0'\nADDRESS='10.0.0.2/24'\n")
    pi.put(network_config="ethernets: {eth0: {dhcp4: true}}\n")
    assert apply(pi, capsys)[1][0] == "network-config: the fixed address of the image stays"
    pi.image("network", "INTERFACE='eth0'\nADDRESS=''\n")
    pi.put(network_config="ethernets: {eth0: {dhcp4: yes}}\n")
    assert apply(pi, capsys)[1] == ["settings of the card: none"]


def test_settings_that_cannot_be_written_are_told_and_the_files_stay(
    pi: Card, capsys: pytest.CaptureFixture[str]
) -> None:
    (pi.root / "data/piimage").mkdir(parents=True)
    (pi.root / card.PROVISION).write_text("not a folder")
    pi.put(user_data=USER_DATA)
    status, messages, removed = apply(pi, capsys)
    assert (status, removed) == (1, [])
    assert messages == ["settings of the card: they cannot be written: File exists"]
    assert not pi.note.exists()


def test_an_error_of_the_program_shows_its_kind_alone(
    pi: Card, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(root: str) -> set[str]:
        raise ValueError("hunter2")

    monkeypatch.setattr(card, "noted", fail)
    assert apply(pi, capsys) == (
        1, ["settings of the card: internal error ValueError"], [],
    )  # fmt: skip


def test_a_link_in_the_place_of_a_draft_is_not_followed(
    pi: Card, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = pi.root / card.PROVISION
    folder.mkdir(parents=True)
    (folder / ".hostname.new").symlink_to(pi.root / "elsewhere")
    pi.put(user_data="#cloud-config\nhostname: shed\n")
    apply(pi, capsys)
    assert pi.settings() == {"hostname": "shed\n"}
    assert not (pi.root / "elsewhere").exists()


def test_every_file_is_on_the_medium_before_the_next_one(
    pi: Card, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The note comes last: without it the files are applied again, which changes nothing."""
    steps: list[str] = []
    replace, fsync = os.replace, os.fsync
    monkeypatch.setattr(os, "replace", lambda a, b: (steps.append(Path(b).name), replace(a, b))[1])
    monkeypatch.setattr(os, "fsync", lambda handle: (steps.append("sync"), fsync(handle))[1])
    pi.put(user_data="#cloud-config\nhostname: shed\ntimezone: Asia/Tokyo\n")
    apply(pi, capsys)
    assert steps == [
        "sync", "hostname", "sync", "sync", "timezone", "sync", "sync", "user-data", "sync",
    ]  # fmt: skip


@settings(max_examples=examples(60), deadline=None)
@given(st.data())
def test_damaged_files_end_in_messages_of_printable_ascii(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    pi = Card(tmp_path_factory.mktemp("pi"))
    for name, text in (("user-data", USER_DATA), ("network-config", NETWORK_CONFIG)):
        at = data.draw(st.integers(13, len(text)))
        piece = data.draw(st.one_of(st.binary(max_size=8), st.sampled_from(PIECES)))
        end = data.draw(st.integers(at, min(len(text), at + 20)))
        (pi.folder / name).write_bytes(text[:at].encode() + piece + text[end:].encode())
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout.write", lines.append)
        assert main(str(pi.folder), str(pi.root)) == 0
    for line in "".join(lines).splitlines():
        assert line.isascii()
        assert line.isprintable()
        assert line.startswith(("say ", "remove "))
        assert len(line) <= 170
        assert "internal error" not in line
    assert set(pi.settings()) <= {
        "hostname", "timezone", "authorized_keys", "wifi.conf", "country", "network",
    }  # fmt: skip


PIECES = [
    b"\n", b": ", b"- ", b"\0", b"\r", b"&a ", b"*a", b"!!str ", b"[[[[", b"{", b"'", b'"', b"|\n",
    b"\\xff", b"\n  ", b"#", b"../", b"%", b"? ", b"\xc3\xa9", b"\xe2\x80\xa8", b"\x85", b"~",
]  # fmt: skip
