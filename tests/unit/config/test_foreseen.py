"""What a build would refuse of the files that a file names, or of where it lays them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from piimage.config.load import load, load_all
from piimage.config.models import Appliance
from piimage.errors import ErrorGroup, PiimageError
from piimage.plan.files import overlay_of
from tests.unit.rights import modes_count


def refused(folder: Path, text: str) -> list[str]:
    """Return what is wrong, each as ``CODE LINE:COLUMN MESSAGE``."""
    file = folder / "a.yml"
    file.write_text(text)
    with pytest.raises(PiimageError) as caught:
        load_all([file])
    found = caught.value
    errors = found.errors if isinstance(found, ErrorGroup) else (found,)
    return [
        f"{error.code} {(error.place or '').removeprefix(f'{file}:')} {error.message}"
        for error in errors
    ]


@pytest.mark.parametrize(
    ("files", "beginnings"),
    [
        (
            "[{path: etc, contents: a}]",
            ["1:16 'etc' cannot be there: the system needs the folder /etc"],
        ),
        (
            "[{path: bin, contents: a}]",
            ["1:16 'bin' cannot be there: the system needs the folder /usr/bin"],
        ),
        (
            "[{path: lib/, symlink: x}]",
            ["1:16 'lib/' cannot be there: the system needs the folder /usr/lib"],
        ),
        (
            "[{path: usr/bin, symlink: x}]",
            ["1:16 'usr/bin' cannot be there: the system needs the folder /usr/bin"],
        ),
        (
            "[{path: etc/a, contents: a}, {path: /etc//a/b, contents: b}]",
            ["1:44 '/etc//a/b' cannot be there: it lies below /etc/a, which is not a folder"],
        ),
        (
            "[{path: lib/a, symlink: b}, {path: usr/lib/a/b/c, directory: true}]",
            ["1:43 'usr/lib/a/b/c' cannot be there: it lies below /usr/lib/a, which is no"],
        ),
    ],
)
def test_what_takes_the_place_of_a_folder_is_refused(
    tmp_path: Path, files: str, beginnings: list[str]
) -> None:
    found = refused(tmp_path, f"files: {files}")
    assert len(found) == len(beginnings)
    for message, begins in zip(found, beginnings, strict=True):
        assert message.startswith(f"config.misplaced {begins}")


@pytest.mark.parametrize(
    "files",
    [
        "[{path: etc, directory: true, mode: '0755'}, {path: etc/a, contents: a}]",
        # The later of one path counts.
        "[{path: etc/a, contents: a}, {path: etc/a, directory: true}, {path: etc/a/b, symlink: b}]",
        "[{path: etc/a, source: none, optional: true}, {path: etc/a/b, contents: b}]",
        "[{path: srv, symlink: /data/srv}]",
        "[{path: etc/ab, contents: a}, {path: etc/a, contents: b}]",
    ],
)
def test_what_has_room_is_taken(tmp_path: Path, files: str) -> None:
    (tmp_path / "a.yml").write_text(f"files: {files}")
    load([tmp_path / "a.yml"])


def test_a_folder_of_the_system_is_the_same_by_its_old_name() -> None:
    """A folder bin would lie over the link of that name, and hide all programs."""
    appliance = Appliance.model_validate(
        {"files": [{"path": "bin", "directory": True, "mode": "0755"}]}
    )
    assert [folder.path for folder in overlay_of(appliance, ()).folders] == ["usr/bin"]


@pytest.mark.provokes("plan.bad-passphrase")
@pytest.mark.parametrize("text", ["short\n", "", "\nlong enough\n", "x" * 5000])
def test_a_file_without_a_passphrase_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "psk").write_text(text)
    wifi = "network: {country: JP, wifi: {ssid: x, psk_file: psk}}"
    (found,) = refused(tmp_path, wifi)
    assert found.startswith("plan.bad-passphrase 1:50 the first line of ")
    (tmp_path / "psk").write_text("long enough\n")
    load([tmp_path / "a.yml"])


@pytest.mark.provokes("plan.bad-passphrase", "config.no-file")
def test_the_passphrases_of_a_list_of_networks_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "psk").write_text("short\n")
    listed = "[{ssid: x, psk_file: psk}, {ssid: y, psk_file: none}]"
    first, second = refused(tmp_path, f"network: {{country: JP, wifi: {listed}}}")
    assert first.startswith("plan.bad-passphrase 1:51 the first line of ")
    assert second.startswith("config.no-file 1:")
    # Paths start at the folder of the file.
    assert f"{tmp_path}/none" in second


@pytest.mark.provokes("card.bad-host-key")
def test_a_host_key_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("no key")
    (tmp_path / "key").chmod(0o600)
    (found,) = refused(tmp_path, "ssh: {host_key: key}")
    assert found.startswith(
        "card.bad-host-key 1:17 the SSH host key is not usable: it is not an ed"
    )
    (tmp_path / "key").unlink()
    load([tmp_path / "a.yml"])  # the build makes it


@pytest.mark.parametrize(
    "text",
    [
        "ssh: {authorized_keys: [./it]}",
        "ssh: {host_key: it}",
        "signing: {key: it, certificates: [/etc/hostname]}",
        "signing: {key: /etc/hostname, certificates: [it]}",
        "files: [{path: etc/a, source: it}]",
        "network: {country: JP, wifi: {ssid: x, psk_file: it}}",
        "services: [{name: a, image: x, seccomp: ./it}]",
    ],
)
@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_file_is_refused_before_anybody_waits_for_it(
    tmp_path: Path, text: str, kind: str
) -> None:
    if kind == "pipe":
        os.mkfifo(tmp_path / "it")
    else:
        (tmp_path / "it").mkdir()
    (found,) = refused(tmp_path, text)
    assert found.startswith("config.no-file 1:")


@pytest.mark.parametrize(
    "text",
    [
        "files: [{path: etc/a, source: it}]",
        "files: [{path: etc/a, source: it, optional: true}]",
        "network: {country: JP, wifi: {ssid: x, psk_file: it}}",
        "services: [{name: a, image: x, seccomp: ./it}]",
    ],
)
def test_a_file_that_this_user_may_not_read_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "it").write_text("x")
    (tmp_path / "it").chmod(0)
    with modes_count():
        (found,) = refused(tmp_path, text)
    assert found.startswith("config.no-file 1:")
    assert "this user may not read " in found


@pytest.mark.provokes("plan.unsupported")
@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("volumes: [{name: v, image: x, format: oci}]", "1:39"),
        ("init: ['@pkg:./x']", "1:8"),
        ("kernel: {image: '@pkg:./x'}", "1:17"),
    ],
)
def test_what_this_version_cannot_do_is_refused(tmp_path: Path, text: str, at: str) -> None:
    (found,) = refused(tmp_path, text)
    assert found.startswith(f"plan.unsupported {at} this version does not support ")


@pytest.mark.provokes("modules.bad-parameter")
@pytest.mark.parametrize("value", ["'a\"b'", '"it\'s"', "'*'", "'a  b'", '"a\tb"'])
def test_a_parameter_that_no_kernel_takes_is_refused(tmp_path: Path, value: str) -> None:
    (found,) = refused(tmp_path, f"modules: [{{name: loop, params: {{max: {value}}}}}]")
    assert found.startswith("modules.bad-parameter 1:38 the value ")


@pytest.mark.parametrize(
    ("more", "code"), [("", "modules.no-kbuild"), ("prebuilt: m.ko\n", "modules.no-prebuilt")]
)
def test_a_module_folder_without_what_it_is_made_of_is_refused(
    tmp_path: Path, more: str, code: str
) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "module.yml").write_text(f"name: m\nlicense: MIT\n{more}")
    (found,) = refused(tmp_path, "modules: [{build: m}]")
    assert found.startswith(code)


@pytest.mark.parametrize("device", ["/dev/i2c-*", "/dev/ttyUSB?", "/dev/gpiochip[0-4]"])
def test_a_device_by_a_wildcard_is_refused(tmp_path: Path, device: str) -> None:
    """The Pi would wait for a device of that very name."""
    (found,) = refused(tmp_path, f"services: [{{name: a, image: x, devices: ['{device}']}}]")
    assert found.startswith(f"config.value 1:42 '{device}' has a wildcard")


def test_the_files_of_a_signature_have_to_be_there(tmp_path: Path) -> None:
    (tmp_path / "there.pem").touch()
    text = "signing: { key: %s, certificates: [there.pem, %s] }"
    key, certificate = refused(tmp_path, text % ("no.key", "no.pem"))
    assert key == f"config.no-file 1:17 there is no file '{tmp_path}/no.key'"
    assert certificate == f"config.no-file 1:51 there is no file '{tmp_path}/no.pem'"
    (certificate,) = refused(tmp_path, text % ("pkcs11:token=t;object=o", "no.pem"))
    assert certificate.startswith("config.no-file 1:68 ")


@pytest.mark.parametrize("certificates", ["[]", "[a, a, a]"])
def test_one_or_two_certificates_are_trusted(tmp_path: Path, certificates: str) -> None:
    (tmp_path / "a").touch()
    (found,) = refused(tmp_path, f"signing: {{ key: a, certificates: {certificates} }}")
    assert found.startswith("config.value 1:")


SIGNING = "signing: { key: there, certificates: [there] }\n"


@pytest.mark.provokes("config.no-signing")
def test_updates_from_a_server_need_signatures(tmp_path: Path) -> None:
    (found,) = refused(tmp_path, "updates: { server: 'http://shed.local:60053' }")
    assert found.startswith("config.no-signing 1:10 ")


@pytest.mark.provokes("config.no-ca")
def test_a_server_over_https_needs_a_certificate(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    (found,) = refused(tmp_path, f"{SIGNING}updates: {{ server: 'https://shed.local' }}")
    assert found.startswith("config.no-ca 2:20 ")
    (found,) = refused(tmp_path, f"{SIGNING}updates: {{ server: 'https://a', ca: gone }}")
    assert found.startswith("config.no-file 2:")


@pytest.mark.parametrize(
    "updates",
    [
        "server: 'ftp://a'",
        "server: 'http://a?b'",
        "server: 'http://a', tenant: 'a/b'",
        "server: 'http://a', rate: fast",
        "server: 'http://a', rate: 9 kB/s",
        "server: 'http://a', rate: true",
        "server: 'http://a', confirm: nobody",
    ],
)
def test_a_setting_for_no_server_is_refused(tmp_path: Path, updates: str) -> None:
    (tmp_path / "there").touch()
    (found,) = refused(tmp_path, f"{SIGNING}updates: {{ {updates} }}")
    assert found.startswith("config.value 2:")
