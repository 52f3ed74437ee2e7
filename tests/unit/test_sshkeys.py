"""Public keys as people have them, and what is none."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.boards import load_board
from piimage.cli.provision import CardOptions
from piimage.cli.provision import read_settings as options
from piimage.config.load import load
from piimage.config.models import Appliance
from piimage.errors import InputError
from piimage.plan.system import _generated
from piimage.sshkeys import is_key, keys_of, parse_keys
from tests.examples import examples

# Made by `ssh-keygen -t TYPE` of OpenSSH 9.2 and thrown away.
ED25519 = "AAAAC3NzaC1lZDI1NTE5AAAAIIf28zgCxMFQAAteRedlUZTydCxSlcegi76+cp8HY90y"
P256 = (
    "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBNszzfzfQ2/HJE4drCMDmRSFp1G2"
    "2NgTpKTKYuhNdHXPjrF/oSwE2kjAu6OLccWmX35VhhrJ1HWKD90FM+8S2QE="
)
P384 = (
    "AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBIuiH3KpwB4yZUDGKNTFsKsdOfjC"
    "DFG1vbrSA32N50d/v1TT1FwkJIStkMFILqg1EPA+hrspMor7KhtHKqyO3fHwu/cIVIwrflAXwJJBCBXy"
    "kdUYBeX1wbZE6ahb2QnuRw=="
)
P521 = (
    "AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACFBABxvr98cadguXC8zkkhr6S3HH99"
    "cCVIezERi37MkjPqP3BbHw8WIDNmVRQFikTCLoN6rBuYkYwe6Gw4GCUHKN82hAEFnHuR9950/mNHxIlA"
    "qJG1cshnBJDam4Y6SykN+uKc7BL9MyJS7echpIRNZ1nfXSqE6LD0K54Qu9WDaA0iS8y5rw=="
)
RSA = (
    "AAAAB3NzaC1yc2EAAAADAQABAAABgQDRe+c2k6iePDBMoEcZJkeoGA9c/ZGsijnvSNnf97AMLEouXGA2"
    "b7/klaEYpSV6MDmvSMd9Fjf5ggkSH9D1Df+1cbBPnrCErCgl1sddRPSOzxvByU9q2DwspmokqrGuf1Aq"
    "Vaqpo8WeF9lidGAgmEwWw6+mI70Vbc/OU+H0LZ0+5OIIkiL1nrUVcRhQFbmNOOOvblMjb5rGAOs+LxFW"
    "vRPloKUR//IK31hkPgXr4X1eAo6HSjG2jzUtDwbCroyqhaDCwrhtrcXYuMjvTJba5NNBYBtInn4w+Wk/"
    "YkZYaV5S0sr0/0jurO4TtE2LEKM02DSUJwFTZDtSqZlkYTbiviro1tuQeg7/jRUzeQBwi0T4WFvH/Eki"
    "yyJfwzD0km9wYAVwVIxpzWl+MV2oRvAQY+Ocn+kVC46pePh8omSH25gGP9P0qzlZsYqu8UnKOqj7S+W2"
    "8624XNUbY26SDHh+yWomtgBxURmghbfD1tJqD27C0NjMzoLc4MGjiH3M12ivg2M="
)
DSA = (
    "AAAAB3NzaC1kc3MAAACBAL0s+8rK3HnCwfX/nHujjUwbJM7mSOFnZwN7Hhmiy46VLhOwJeu06IuE7YEe"
    "bpBsXMTsZvrpYRnHQ5SsBynuklAsa6SSf6Kk9nTLVgqkGQWFuf2FiyAWtXngGCEGL/Ox+dc9gwE6abm+"
    "Zqkc/ULj/mFgCVFsjlPw9bKSgN2HKGTNAAAAFQDupwD5yMNKy4u2QPJaZG2GuW6LAQAAAIEAiicJHlpq"
    "08eLvwOchEBR5yr00r3nkOnJ/y/zc/yvp7V2duISeiJ5zXu4Pjbdxx65lV+P9/4nViEA7cWjaq5iDvp7"
    "Gm/VR8JrQlVGE6MGevTLvkZSaICRl5/6ENVf8nf+Lj2HlbA2kBmyROFMaWZBpoRTFyqoLXFRK3otyCFB"
    "pQwAAACBAIFPOEHyEFowCkvhaMOb7aVUSE1r6fDAVn7MMhgGCtY93+79oPXFQ9kOBUVmd/PVZo17Z8+8"
    "Swyh1m/4S5337Vvn68WV6tpbDiSgfW0FqF6EMZ2jw+Or7F47+QrXNwvtrVpzddsNx/S8F77fBA4S8I/Z"
    "KXkNnSWt+dNBeJDq4Oci"
)

COMMENTS = "# mine\n\n  # and\tyours\n"


def blob(*fields: bytes) -> str:
    """A key's blob: strings with their lengths (RFC 4251, 5)."""
    return base64.b64encode(b"".join(len(f).to_bytes(4, "big") + f for f in fields)).decode()


# OpenSSH's PROTOCOL.u2f: the public key, then the application.
SK_ED25519 = blob(b"sk-ssh-ed25519@openssh.com", bytes(32), b"ssh:")
SK_P256 = blob(
    b"sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", base64.b64decode(P256)[-65:], b"ssh:me"
)
GOOD = [
    f"ssh-ed25519 {ED25519} me@home",
    f"ssh-rsa {RSA}",
    f"ecdsa-sha2-nistp256 {P256} a comment of words",
    f"ecdsa-sha2-nistp384 {P384}",
    f"ecdsa-sha2-nistp521 {P521}",
    f"sk-ssh-ed25519@openssh.com {SK_ED25519}",
    f"sk-ecdsa-sha2-nistp256@openssh.com {SK_P256}",
    f"ssh-ed25519\t{ED25519}\tme at home",
    f'from="192.0.2.0/24" ssh-ed25519 {ED25519} x',
    f'command="echo \\"a, b\\" # c",no-pty,No-X11-Forwarding ssh-ed25519 {ED25519}',
    f'restrict,environment="A=b",expiry-time="20300101Z",permitopen="h:1" ssh-rsa {RSA}',
    f'cert-authority,principals="a,b" ssh-ed25519 {ED25519}',
    f"verify-required sk-ssh-ed25519@openssh.com {SK_ED25519}",
]


@pytest.mark.parametrize("line", GOOD)
def test_a_key_is_taken_as_it_is(line: str, tmp_path: Path) -> None:
    assert is_key(line)
    assert [key.line for key in keys_of(line)] == [line]
    (tmp_path / "k.pub").write_text(f"{COMMENTS}{line}\r\n")
    assert [key.line for key in keys_of(str(tmp_path / "k.pub"))] == [line]


def test_the_names_of_options_are_known() -> None:
    (key,) = parse_keys(f'from="a,b",No-pty,command="x \\" y" ssh-ed25519 {ED25519}')
    assert key.options == ("from", "no-pty", "command")


def test_a_file_may_hold_several(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"{COMMENTS}{GOOD[0]}\n\n{GOOD[1]}\n")
    assert [key.line for key in keys_of(str(tmp_path / "keys"))] == GOOD[:2]
    assert [key.line for key in parse_keys(f"{GOOD[0]}\n{GOOD[1]}\n")] == GOOD[:2]


def test_a_comment_that_is_no_utf_8_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "k.pub").write_bytes(f"ssh-ed25519 {ED25519} ".encode() + b"J\xfcrg\n")
    (key,) = keys_of(str(tmp_path / "k.pub"))
    assert key.line.startswith(f"ssh-ed25519 {ED25519} J")


@pytest.mark.parametrize("name", ["~/.ssh/id.pub", "ssh-key.pub", "my keys/id rsa.pub", "keys/*"])
def test_a_file_s_name_is_no_key(name: str) -> None:
    assert not is_key(name)


@pytest.mark.provokes("ssh.not-a-key")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ssh-ed25519 AAAA", "the ssh-ed25519 key is incomplete"),
        ("ssh-rsa", "no key follows ssh-rsa: the line is incomplete"),
        (f"ssh-ed25519 {ED25519[:-4]}", "the ssh-ed25519 key is incomplete"),
        (f"ssh-rsa {RSA[:200]}", "the ssh-rsa key is incomplete"),
        (f"ssh-ed25519 {ED25519[:20]} {ED25519[20:]}",
         "the ssh-ed25519 key is incomplete"),
        (f"ssh-rsa {ED25519}", "the data after ssh-rsa are not a key of that type"),
        (f"ssh-dss {DSA}", "this is a DSA key (ssh-dss), which OpenSSH no longer accepts"),
        (f"ssh-ed25519-cert-v01@openssh.com {ED25519}",
         "this is a certificate, not a key (for its authority, use the option cert-authority)"),
        (f"ssh-rsa {blob(b'ssh-rsa', b'3', bytes([1]) + bytes(95))}",
         "an RSA key of 761 bits is too short: OpenSSH needs 1024"),
        (f"ecdsa-sha2-nistp256 {blob(b'ecdsa-sha2-nistp256', b'nistp384', bytes(97))}",
         "the ecdsa-sha2-nistp256 key is incomplete"),
        (f"ecdsa-sha2-nistp521 {P521[:90]}B{P521[91:]}",
         "the ecdsa-sha2-nistp521 key is incomplete"),
        (f"sk-ssh-ed25519@openssh.com {blob(b'sk-ssh-ed25519@openssh.com', bytes(32))}",
         "the sk-ssh-ed25519@openssh.com key is incomplete"),
        (ED25519, "this is not a public key: it begins with neither a type of key nor options"),
        (f"ssh-ed25591 {ED25519}",
         "this is not a public key: it begins with neither a type of key nor options"),
        (f"github.com ssh-ed25519 {ED25519}",
         "the text before the type of key is not a list of OpenSSH's options"),
        (f"no-shell ssh-ed25519 {ED25519}",
         "the text before the type of key is not a list of OpenSSH's options"),
        (f"from=192.0.2.1 ssh-ed25519 {ED25519}", "the value of the option from= is not in quotes"),
        (f"ssh-ed25519 {ED25519}\u00a0me",
         "the ssh-ed25519 key is incomplete"),
        (f"ssh-ed25519 {ED25519} a\rssh-ed25519 {ED25519} b",
         "its lines end with CR alone, as on an old Mac; sshd reads them as one line"),
        (rf'command="dir C:\\" ssh-ed25519 {ED25519}',
         "the value of the option command= is not in quotes"),
        (f'from="192.0.2.1",from="192.0.2.2" ssh-ed25519 {ED25519}',
         "the option from= is given twice: sshd ignores the key"),
        (f'expiry-time="2030-01-31" ssh-ed25519 {ED25519}',
         "the value of expiry-time= is not valid: it is YYYYMMDD or YYYYMMDDHHMM, with an "
         "optional Z"),
        ("# nothing\n\n", "the text contains no key"),
    ],
)  # fmt: skip
def test_what_is_no_key_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_keys(text)
    assert (caught.value.code, caught.value.message) == ("ssh.not-a-key", message)


PRIVATE = [
    "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUSECRET\n",
    "-----BEGIN RSA PRIVATE KEY-----\nSECRET\n",
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nSECRET\n",
    "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nSECRET\n",
    "PuTTY-User-Key-File-3: ssh-ed25519\nSECRET\n",
    "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUSECRET",
]


@pytest.mark.provokes("ssh.private-key")
@pytest.mark.parametrize("text", PRIVATE)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_private_key_is_refused_loudly_and_never_shown(
    text: str, encoding: str, tmp_path: Path
) -> None:
    file = tmp_path / "id_test"
    file.write_bytes(text.encode(encoding))
    for given_text in (text, str(file)):
        with pytest.raises(InputError) as caught:
            keys_of(given_text)
        assert caught.value.code == "ssh.private-key"
        assert "PRIVATE KEY" in caught.value.message
        assert "SECRET" not in str(caught.value)
        assert caught.value.__cause__ is None
    assert f"{file}.pub" in str(caught.value)


@pytest.mark.provokes("ssh.other-form")
@pytest.mark.parametrize(
    ("data", "command"),
    [
        (b"\xef\xbb\xbfssh-ed25519 ", r"sed -i '1s/^\xEF\xBB\xBF//' FILE"),
        (f"ssh-ed25519 {ED25519}\r\n".encode("utf-16"), "iconv -f UTF-16 -t UTF-8 FILE > FILE.new"),
        (b"---- BEGIN SSH2 PUBLIC KEY ----\n", "ssh-keygen -i -f FILE > FILE.pub"),
        (b"-----BEGIN PUBLIC KEY-----\n", "ssh-keygen -i -m PKCS8 -f FILE > FILE.pub"),
        (b"-----BEGIN RSA PUBLIC KEY-----\n", "ssh-keygen -i -m PEM -f FILE > FILE.pub"),
    ],
)
def test_another_form_is_refused_with_the_command_that_converts(
    data: bytes, command: str, tmp_path: Path
) -> None:
    file = tmp_path / "a key"
    file.write_bytes(data)
    with pytest.raises(InputError) as caught:
        keys_of(str(file))
    wanted = command.replace("FILE > FILE.", f"'{file}' > '{file}'.").replace("FILE", f"'{file}'")
    assert (caught.value.code, caught.value.place) == ("ssh.other-form", str(file))
    assert caught.value.hint == f"convert it with {wanted}"


@pytest.mark.provokes("ssh.unreadable")
def test_a_file_that_is_not_there_or_too_large_is_named(tmp_path: Path) -> None:
    for name in ("none.pub", "."):
        with pytest.raises(InputError) as caught:
            keys_of(str(tmp_path / name))
        assert caught.value.code == "ssh.unreadable"
    (tmp_path / "image").write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(InputError, match="more than 1048576 bytes and cannot be a file of keys"):
        keys_of(str(tmp_path / "image"))


def test_the_yaml_refuses_at_the_key_s_place_and_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"{GOOD[0]}\nssh-rsa\n")
    file = tmp_path / "a.yml"
    file.write_text(f"ssh:\n  authorized_keys: [keys, '{GOOD[8]}']\n")
    with pytest.raises(InputError) as caught:
        load([file])
    assert caught.value.place == f"{file}:2:21"
    assert caught.value.message == (
        f"{tmp_path}/keys:2: no key follows ssh-rsa: the line is incomplete"
    )


def test_yaml_and_option_lead_to_the_same_lines(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("".join(f"{line}\n" for line in GOOD))
    file = tmp_path / "a.yml"
    file.write_text("ssh: {authorized_keys: [keys]}")
    appliance: Appliance = load([file])
    files = _generated(appliance, load_board("pi4"))
    (made,) = [entry for entry in files if entry.path.endswith("authorized_keys")]
    assert made.content.decode().splitlines() == GOOD
    told = options(CardOptions(ssh_keys=[str(tmp_path / "keys")]))
    assert list(told.ssh_keys) == GOOD
    (written,) = told.files().values()
    assert written.content == made.content


def test_the_option_refuses_a_private_key_as_the_yaml_does(tmp_path: Path) -> None:
    (tmp_path / "id").write_text(PRIVATE[0])
    with pytest.raises(InputError) as caught:
        options(CardOptions(ssh_keys=[str(tmp_path / "id")]))
    assert (caught.value.code, caught.value.place) == (
        "ssh.private-key",
        f"--ssh-key {tmp_path}/id",
    )


PIECES = [
    "ssh-ed25519",
    ED25519,
    "ssh-rsa",
    "no-pty",
    'from="',
    '"',
    ",",
    " ",
    "\n",
    "#",
    "=",
    "\0",
]


@settings(max_examples=examples(200), deadline=None)
@given(
    st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=12).map("".join)
    | st.integers(0, len(ED25519)).map(lambda n: f"ssh-ed25519 {ED25519[:n]}")
)
def test_any_text_is_keys_or_refused(text: str) -> None:
    try:
        keys = parse_keys(text)
    except InputError as error:
        assert error.code in ("ssh.not-a-key", "ssh.private-key", "ssh.other-form")
        assert ED25519 not in str(error)
        return
    assert keys
    assert all(f"ssh-ed25519 {ED25519}" in key.line for key in keys)
