from __future__ import annotations

import pytest
from piimage_seed.settings import Settings
from piimage_seed.tree import Unreadable
from piimage_seed.user_data import read_meta_data, read_user_data

from tests.unit.seed.files import KEY, META_DATA, OTHER, USER_DATA, USER_DATA_1


def read(text: str) -> tuple[Settings, list[str]]:
    """Read the lines of a user-data below its header."""
    settings = Settings()
    return settings, read_user_data(f"#cloud-config\n{text}".encode(), settings)


def test_imagers_file_is_taken_without_a_message() -> None:
    settings = Settings()
    assert read_user_data(USER_DATA.encode(), settings) == []
    assert settings.hostname == "orangery"
    assert settings.timezone == "Asia/Kolkata"  # the current name of Asia/Calcutta
    assert settings.keys == [KEY, OTHER]
    assert settings.users == ["pi"]


def test_the_file_of_imager_1_is_taken_without_a_message() -> None:
    settings = Settings()
    assert read_user_data(USER_DATA_1.encode(), settings) == []
    assert (settings.hostname, settings.timezone) == ("orangery", "Europe/Vienna")
    assert settings.keys == [KEY]


@pytest.mark.parametrize(
    "text",
    [
        f"ssh_authorized_keys:\n  - {KEY}\n",
        f"ssh_authorized_keys: ['{KEY}']\n",
        f"ssh_authorized_keys: {KEY}\n",
        f"ssh-authorized-keys:\n- |\n  # mine\n  {KEY}\n",
        f"users:\n  - default\n  - name: root\n    ssh_authorized_keys: [{KEY}]\n",
        f"user: {{ssh_authorized_keys: [{KEY}]}}\nssh_authorized_keys: [{KEY}]\n",
    ],
)
def test_keys_count_wherever_cloud_init_takes_them_and_each_once(text: str) -> None:
    settings, messages = read(text)
    assert (settings.keys, messages) == ([KEY], [])


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hostname: shed", "shed"),
        ("fqdn: shed.example.org", "shed"),
        ("fqdn: barn.example.org\nhostname: shed", "shed"),
        ("hostname: '12345a'", "12345a"),
        ("hostname: NO", "NO"),
    ],
)
def test_the_host_name_is_what_is_written(text: str, name: str) -> None:
    settings, messages = read(text)
    assert (settings.hostname, messages) == (name, [])


def test_the_host_name_of_meta_data_counts_if_user_data_has_none() -> None:
    settings = Settings()
    assert read_meta_data(META_DATA.encode() + b"local-hostname: shed.local\n", settings) == []
    assert settings.hostname == "shed"
    assert read_meta_data(b"local-hostname: barn\n", settings) == []
    assert settings.hostname == "shed"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hostname: a_b", "line 2: hostname: 'a_b' is not a host name; give letters"),
        ('hostname: "a\\nb"', "line 2: hostname: 'a\\nb' is not a host name"),
        ("hostname: [a]", "line 2: hostname: one value is expected"),
        ("hostname:", "line 2: hostname: '' is not a host name"),
        ("timezone: ../../etc/passwd", "line 2: timezone: there is no time zone '../../etc/p"),
        ("timezone: Mars/Olympus", "line 2: timezone: there is no time zone 'Mars/Olympus'"),
        ("ssh_authorized_keys: [ssh-rsa x]", "line 2: ssh_authorized_keys: the ssh-rsa key is"),
        ("ssh_authorized_keys:\n- {a: b}", "line 3: ssh_authorized_keys: one value is expected"),
        (
            f"ssh_authorized_keys: ['environment=\"A=b\" {OTHER}']",
            "line 2: ssh_authorized_keys: the SSH server does not know the option environment",
        ),
        ("ssh_pwauth: true", "line 2: ssh_pwauth: not supported: only SSH keys log in"),
        ("ssh_pwauth: perhaps", "line 2: ssh_pwauth: true or false is expected"),
        ("user: {name: pi, passwd: x}", "line 2: user: passwd: not used: only SSH keys log in"),
        ("password: x", "line 2: password: not used: only SSH keys log in"),
        ("packages:\n- nginx", "line 3: packages: nginx: not supported"),
        ("packages:\n- [nginx, '1.2']", "line 3: packages: not supported"),
        ("runcmd:\n- [ touch, /x ]", "line 3: runcmd: a command is not run"),
        ("runcmd:\n- reboot", "line 3: runcmd: a command is not run"),
        (
            "runcmd:\n- [ rfkill, unblock, wifi ]\n- reboot\n- {a: b}\n- ls\n",
            "line 4: runcmd: 3 commands are not run",
        ),
        ("runcmd: reboot", "line 2: runcmd: a list is expected"),
        ("write_files: []", "line 2: write_files: not supported"),
        ("rpi:\n  interfaces: {i2c: true}", "line 2: rpi: not supported"),
        ("users:\n- ssh_import_id: [gh:me]", "line 3: users: ssh_import_id: not supported"),
        ("- hostname: a", "line 2: the file: lines KEY: VALUE are expected"),
        ("hostname", "line 2: the file: lines KEY: VALUE are expected"),
        ("'a\\nb: \x7f'", "line 2 has a character"),
        ('"\\e[2Jx": 1', "line 2: '\\x1b[2Jx': not supported"),
    ],
)
def test_what_is_not_used_is_named_with_its_line(text: str, message: str) -> None:
    try:
        _, (found,) = read(text)
    except Unreadable as error:
        found = f"user-data {error}"
    assert found.startswith(f"user-data {message}")


def test_a_password_beside_a_key_is_what_imager_writes_and_no_message() -> None:
    assert read(f"user: {{name: pi, passwd: x, ssh_authorized_keys: [{KEY}]}}")[1] == []


@pytest.mark.parametrize(
    "text",
    [
        "chpasswd: {list: ['root:hunter2']}",
        "password: hunter2",
        "user: {name: pi, plain_text_passwd: hunter2}",
        "ssh_authorized_keys: [hunter2 hunter2]",
        "runcmd: [[sh, -c, 'echo hunter2 > token']]",
        "write_files: [{path: /x, content: hunter2}]",
        "hostname: {hunter2: hunter2}",
        "timezone: [hunter2]",
        "rpi_connect: &hunter2 x",
        "a: *hunter2",
        "a: !hunter2 x",
        "a: !hunter2!hunter2 x",
        "a: 'hunter2",
    ],
)
def test_no_secret_is_repeated(text: str) -> None:
    try:
        messages = read(text)[1]
    except Unreadable as error:
        messages = [str(error)]
    assert messages
    assert not [message for message in messages if "hunter2" in message]


@pytest.mark.parametrize("head", ["", "#!/bin/sh\n", "## template: jinja\n#cloud-config\n", "\n"])
def test_other_forms_of_user_data_are_refused(head: str) -> None:
    with pytest.raises(Unreadable, match="its first line is not #cloud-config"):
        read_user_data(f"{head}hostname: a\n".encode(), Settings())


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_of_windows_editors_are_read(encoding: str) -> None:
    settings = Settings()
    data = "#cloud-config\r\nhostname: shed\r\n".encode(encoding)
    assert read_user_data(data, settings) == []
    assert settings.hostname == "shed"


def test_a_file_of_comments_says_nothing() -> None:
    settings, messages = read("# hostname: x\n")
    assert (settings, messages) == (Settings(), [])


def test_a_long_list_of_faults_is_cut() -> None:
    messages = read("".join(f"key{n}: x\n" for n in range(50)))[1]
    assert len(messages) == 21
    assert messages[-1] == "user-data: 30 more lines are not used"
