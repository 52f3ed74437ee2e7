"""One bad file for each message: the exact place, cause, and what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from piimage.config.load import load, load_folder, load_system, parse_label
from piimage.errors import ErrorGroup, PiimageError

SERVICE = "{name: a, image: x}"

HINTS = frozenset(
    {"instead:", "add", "add:", "choose", "convert", "end", "give", "indent", "name", "remove",
     "rename", "set", "split", "use", "write"}
)  # fmt: skip
"""How a hint begins: with what to write, or as an imperative."""

# (file, code, line:column, message): the folder of the file is written as DIR.
BAD = [
    # syntax and limits
    ("a: [", "config.syntax", "2:1",
     "not YAML: while parsing a flow node: did not find expected node content"),
    ("\tboard: pi4", "config.syntax", "1:1",
     "not YAML: while scanning for the next token: found character that cannot start any token"),
    ("board: pi4\n---\nboard: pi5\n", "config.syntax", "2:1",
     "not YAML: the file has a second document (---)"),
    ("board: !pi pi4", "config.syntax", "1:8", "not YAML: the tag !pi is not supported"),
    ("? [a]\n: b", "config.syntax", "1:3", "not YAML: a key cannot be a list or a mapping"),
    ("board: *b", "config.syntax", "1:8", "not YAML: no anchor &b comes before this alias"),
    ("board: &b [*b]", "config.syntax", "1:12", "not YAML: *b contains itself"),
    ("<<: pi4", "config.syntax", "1:5", "not YAML: << takes a mapping, or a list of mappings"),
    ("- board: pi4", "config.not-a-mapping", "1:1", "the top level of the file is not a mapping"),
    ("board: pi4\nboard: pi5", "config.duplicate-key", "2:1",
     "the key 'board' is listed twice"),
    ("x: " + "[" * 41, "config.too-large", "1:43", "the nesting is too deep"),
    # variables
    ("{variables: [NAME], hostname: '${NAME}'}", "config.unset-variable", "1:31",
     "the variable NAME is not set"),
    ("{variables: [a], hostname: '${a b}'}", "config.bad-variable", "1:28",
     "'${a b}' is not a valid variable"),
    ("variables: [a-b]", "config.value", "1:13", "'a-b' is not a valid variable name"),
    ("hostname: ${NAME}", "config.value", "1:11", "'${NAME}' is not a host name"),
    # form of the values
    ("servces: []", "config.unknown-key", "1:1", "unknown key 'servces'"),
    ("services: [{name: a, image: x, board: pi4}]", "config.unknown-key", "1:32",
     "unknown key 'board'"),
    ("services: [{image: x}]", "config.missing", "1:12", "the key 'name' is missing"),
    ("hostname: 42", "config.value", "1:11", "42 is not text"),
    ("hostname: -a", "config.value", "1:11", "'-a' is not a host name"),
    ("hostname: [a]", "config.value", "1:11", "a list is not text"),
    ("services: {name: a}", "config.value", "1:11", "a mapping is not a list"),
    ("services: [a]", "config.value", "1:12", "'a' is not a mapping"),
    ("boot: []", "config.value", "1:7", "a list is not a mapping"),
    ("console: maybe", "config.value", "1:10", "'maybe' is neither a truth value nor hdmi"),
    ("services: [{name: a, image: x, stop_timeout: 1m}]", "config.value", "1:46",
     "a stop timeout of 60 s is too long"),
    ("log: {count: 0}", "config.value", "1:14", "0 is out of range"),
    ("log: {count: many}", "config.value", "1:14", "'many' is not a whole number"),
    ("log: {size: big}", "config.value", "1:13", "'big' is not a valid size"),
    ("data: {size: 64}", "config.value", "1:14", "64 is too small for a file system"),
    ("data: {mount: data}", "config.value", "1:15", "'data' is not a valid absolute path"),
    ("slots: {size: 1M}", "config.value", "1:15", "'1M' is out of range"),
    ("timezone: ../x", "config.value", "1:11", "'../x' is not a valid time zone name"),
    ("boot: {config: {kernel: x}}", "config.value", "1:17", "piimage sets kernel itself"),
    ("boot: {config: {Include: x}}", "config.value", "1:17", "piimage sets Include itself"),
    ("boot: {config: {Gpu_Mem: 32}}", "config.value", "1:17",
     "'Gpu_Mem' is not a setting of config.txt"),
    ("boot: {config: {dtoverlay: [w1-gpio]}}", "config.value", "1:29",
     "'dtoverlay' cannot be set in config.txt"),
    ("files: [{path: etc/" + "n" * 256 + ", contents: x}]", "config.misplaced", "1:16",
     f"'etc/{'n' * 51}...' cannot be there: a name in it has more than 255 bytes"),
    ("boot: {config: {enable_uart: true}}", "config.value", "1:30",
     "enable_uart=true is not a number, so the firmware reads it as 0"),
    ("boot: {config: {gpio: ['4=op', \"5=ip\\n\"]}}", "config.value", "1:32",
     "the value of gpio has characters that config.txt does not allow"),
    ("boot: {config: {gpio: " + "4" * 94 + "}}", "config.value", "1:23",
     "the firmware reads only 98 characters of a line of config.txt: gpio=" + "4" * 35 + "…"),
    ("boot: {cmdline: [a, ü]}", "config.value", "1:17", "'ü' is not a valid kernel option"),
    ("kernel: {cmdline: a piimage.x}", "config.value", "1:19", "piimage sets piimage.x itself"),
    ("board: pi4\nboot: {cmdline: [" + "a" * 1000 + "]}", "config.value", "2:18",
     "the kernel's command line has 1172 characters; the limit is 1024"),
    ("board: arm64-uefi\nboot: {cmdline: [" + "a" * 300 + "]}", "config.value", "2:18",
     "with the kernel's command line, the boot loader's entry has 579 bytes; the limit is 512"),
    ("board: pi4\nslots: {updates: true}\nboot: {cmdline: [panic=9, panic=0]}", "config.value",
     "3:27", "with panic=0, a new version (slots: updates:) that panics is never undone"),
    ("boot: {overlays: ['a b']}", "config.value", "1:19", "'a b' is not a valid overlay name"),
    ("boot: {cmdline: [piimage.partition=3]}", "config.value", "1:17",
     "piimage sets piimage.partition=3 itself"),
    ("boot: {cmdline: ['a b']}", "config.value", "1:17", "'a b' is not a valid kernel option"),
    ("files: [{path: ../etc/passwd, contents: x}]", "config.value", "1:16",
     "'../etc/passwd' leads out of the root file system"),
    ("files: [{path: /, contents: x}]", "config.value", "1:16", "'/' is the root itself"),
    ("files: [{path: a}]", "config.value", "1:9", "'a' has no content"),
    ("files: [{path: a, contents: x, directory: true}]", "config.value", "1:9",
     "'a' has contents and directory"),
    ("files: [{path: a, contents: x, mode: 0888}]", "config.value", "1:38",
     "'0888' is not a valid file mode"),
    ("modules: [{params: {a: 1}}]", "config.value", "1:11",
     "a module with both name and build, or neither"),
    ("network: {ethernet: {gateway: 10.0.0.1}}", "config.value", "1:21",
     "a gateway without an address"),
    ("volumes: [{name: v, readonly: true}]", "config.value", "1:11",
     "a read-only volume without an image"),
    ("volumes: [{name: v, image: x, platforms: [linux/arm64]}]", "config.value", "1:11",
     "platforms without format: oci"),
    ("volumes: [{name: v, format: oci}]", "config.value", "1:11", "format: oci without an image"),
    ("network: {country: jp}", "config.value", "1:20", "'jp' is not a country code"),
    ("test: {checks: [{expect: x}]}", "config.value", "1:17", "a check with nothing to do"),
    ("test: {checks: [{run: x, http: 'http://a/'}]}", "config.value", "1:17",
     "a check with run and http"),
    ("data: {mount: /etc/x}", "config.value", "1:15", "/etc/x belongs to the system"),
    ("data: {mount: /srv/../usr}", "config.value", "1:15", "/srv/../usr belongs to the system"),
    ("data: {mount: /}", "config.value", "1:15", "/ belongs to the system"),
    # checks between values
    ("board: pi6", "config.unknown-board", "1:8", "there is no board 'pi6'"),
    ("{board: pi4, boot: {overlays: [i2c1, -disable-bt, spi00]}}", "config.unknown-overlay",
     "1:51", "the board pi4 has no overlay 'spi00'"),
    ("{board: qemu-virt, boot: {overlays: [i2c1]}}", "config.unknown-overlay", "1:38",
     "the board qemu-virt has no overlay 'i2c1'"),
    ("{board: qemu-virt, console: hdmi}", "config.no-screen", "1:29",
     "the board qemu-virt has no screen"),
    ("services: [{name: a}]", "config.root-file-system", "1:12", "a has no root file system"),
    ("services: [{name: a, image: x, use: sshd}]", "config.root-file-system", "1:32",
     "a has image and use"),
    ("onboot: [{name: a, image: x, restart: always}]", "config.misplaced", "1:30",
     "restart has no effect in onboot"),
    ("services: [{name: a, image: x, entrypoint: [b]}]", "config.misplaced", "1:32",
     "entrypoint has no effect without packages"),
    ("services: [{name: a, build: nowhere}]", "config.no-folder", "1:29",
     "'DIR/nowhere' is not a folder"),
    ("services: [{name: a, build: .}]", "config.no-folder", "1:29",
     "'DIR' has neither service.yml nor Dockerfile"),
    ("services: [{name: a, image: '@pkg:./x'}]", "config.no-folder", "1:29",
     "'DIR/x' is not a folder"),
    ("services: [{name: a, use: sshdd}]", "config.no-folder", "1:27",
     "piimage ships no container folder 'sshdd'"),
    ("modules: [{build: m}]", "config.no-folder", "1:19", "'DIR/m' has no module.yml"),
    ("files: [{path: a, source: b}]", "config.no-file", "1:27", "there is no file 'DIR/b'"),
    ("ssh: {authorized_keys: [k.pub]}", "config.no-file", "1:25", "there is no file 'DIR/k.pub'"),
    ("services: [{name: a, image: x, seccomp: p.json}]", "config.no-file", "1:41",
     "there is no file 'DIR/p.json'"),
    ("services: [{name: a, image: x, apparmor: ./own}]", "config.no-file", "1:42",
     "there is no file 'DIR/own'"),
    ("services: [{name: a, image: x, binds: ['v:/v']}]", "config.no-volume", "1:40",
     "there is no volume 'v'"),
    (f"services: [{SERVICE}, {SERVICE}]", "config.duplicate-name", "1:40",
     "two services are named 'a'"),
    ("services: [{name: containerd, image: x}]", "config.reserved-name", "1:19",
     "'containerd' is the name of a service of the system"),
    ("services: [{name: piimage-a, image: x}]", "config.reserved-name", "1:19",
     "'piimage-a' is the name of a service of the system"),
    ("services: [{name: a, image: x, after: [b]}]", "config.unknown-service", "1:40",
     "a waits for 'b', which is not a service"),
    (f"services: [{SERVICE}]\ntest: {{checks: [{{run: id, service: b}}]}}",
     "config.unknown-service", "2:36", "the check runs in 'b', which is not a service"),
    ("services: [{name: a, image: x, gid: b}]", "config.unknown-owner", "1:37",
     "no container is named 'b'"),
    (f"files: [{{path: a, contents: x, uid: b}}]\nservices: [{SERVICE}]", "config.unknown-owner",
     "1:37", "no container is named 'b'"),
    ("services: [{name: a, image: x, additionalGids: [1, a, b]}]", "config.unknown-owner",
     "1:55", "no container is named 'b'"),
    ("services: [{name: a, image: x, after: [a]}]", "config.cycle", "1:40",
     "these services wait for one another: a -> a"),
    ("network: {wifi: {ssid: shed}}", "config.no-country", "1:17",
     "wifi without a country: the radio stays off"),
]  # fmt: skip

# (keys of an entry, column in the line below, message); all are config.value.
BAD_ENTRIES = [
    ("capabilities: [NET_ADMIN]", 47,
     "'NET_ADMIN' is not a Linux capability; instead: CAP_NET_ADMIN"),
    ("capabilities: [all, CAP_CHOWN]", 46,
     "all or none beside other names; instead: a list of names, or [all], or [none]"),
    ("binds: [/a]", 40,
     "'/a' is not a valid bind; instead: SOURCE:DESTINATION or SOURCE:DESTINATION:OPTIONS"),
    ("binds: ['/a:b']", 40,
     "the destination in '/a:b' is not absolute; instead: a path that begins with /"),
    ("tmpfs: ['/a:b:c']", 40,
     "'/a:b:c' is not a valid tmpfs mount; instead: /DESTINATION or /DESTINATION:OPTION,OPTION"),
    ("env: [A]", 38, "'A' does not set a variable; instead: NAME=VALUE"),
    ("rlimits: ['nofile,1']", 42,
     "'nofile,1' is not a valid resource limit; instead: NAME,SOFT,HARD with numbers or unlimited, "
     "such as nofile,100,200"),
    ("rlimits: ['nofiles,1,1']", 42, "'nofiles' is not a valid resource limit; instead: nofile"),
    ("net: hots", 37, "'hots' is not a valid network; "
     "instead: host, bridge, internal, none, new, or the path of a namespace"),
    ("uid: -1", 37, "-1 is not a valid user or group ID; instead: "
     "a number from 0 to 2147483647, or a container's name"),
    ("user: 'a b'", 38, "'a b' is not a valid user; instead: USER or USER:GROUP"),
    ("user: a, uid: 1", 12, "user together with uid or gid; instead: either user, or uid and gid"),
    ("devices: [i2c-1]", 42, "'i2c-1' is not a device path; instead: a path below /dev/, or all"),
    ("devices: [{path: /dev/a, type: char}]", 63,
     "'char' is not a valid value; instead: one of a, b, c"),
    ("devices: [{path: /dev/a, major: 1}]", 42,
     "only one of major and minor is given; instead: both, or neither"),
    ("mounts: [{destination: /a}]", 41,
     "a mount without a type; instead: type: as in mount(8), such as tmpfs or bind"),
    ("mounts: [{type: tmpfs}]", 41,
     "a mount without a destination; instead: destination: a path in the container"),
    ("health: {}", 40, "a health check with no target; instead: exactly one of http, tcp, command"),
    ("health: {tcp: 'a:1', http: 'http://a'}", 40,
     "a health check with http and tcp; instead: exactly one of http, tcp, command"),
    ("health: {http: 'https://a'}", 47,
     "'https://a' is not a valid health check URL; instead: http://HOST:PORT/PATH"),
    ("health: {tcp: 'a:1', every: 0}", 60,
     "a duration of 0 s is too short; instead: 1s or more"),
    ("health: {tcp: 'a:1', every: 5s, timeout: 6s}", 40,
     "timeout is longer than every, the time between checks; instead: timeout <= every"),
    ("health: {tcp: 'a:1', every: 1.5s}", 60,
     "'1.5s' is not a valid duration; instead: a whole number of seconds, or text "
     "such as 10s, 5m, 1m30s, 2h, 1d"),
    ("health: {command: []}", 50, "a list is too short; instead: at least 1 items"),
    ("restart: sometimes", 41,
     "'sometimes' is not a valid value; instead: one of always, no, on-failure"),
    ("restart: on-failur", 41, "'on-failur' is not a valid value; instead: on-failure"),
    ("restart: {backoff: 1s}", 51,
     "'1s' is not a valid range of durations; instead: FIRST..MOST, such as 1s..60s"),
    ("restart: {backoff: 9s..1s}", 51,
     "'9s..1s' must begin at 1s or more and must not shrink; "
     "instead: FIRST..MOST, such as 1s..60s"),
    ("resources: {memory: {limit: 64X}}", 60,
     "'64X' is not a valid size; "
     "instead: a number of bytes, or text such as 64M or 2G (powers of 1024)"),
    ("oomScoreAdj: 2000", 45, "2000 is out of range; instead: 1000 or less"),
]  # fmt: skip


PROVOKES = {
    mark.args[0]: mark
    for mark in (
        pytest.mark.provokes("config.syntax"),
        pytest.mark.provokes("config.not-a-mapping"),
        pytest.mark.provokes("config.duplicate-key"),
        pytest.mark.provokes("config.too-large"),
        pytest.mark.provokes("config.unset-variable"),
        pytest.mark.provokes("config.bad-variable"),
        pytest.mark.provokes("config.unknown-key"),
        pytest.mark.provokes("config.missing"),
        pytest.mark.provokes("config.value"),
        pytest.mark.provokes("config.unknown-board"),
        pytest.mark.provokes("config.unknown-overlay"),
        pytest.mark.provokes("config.no-screen"),
        pytest.mark.provokes("config.root-file-system"),
        pytest.mark.provokes("config.misplaced"),
        pytest.mark.provokes("config.no-folder"),
        pytest.mark.provokes("config.no-file"),
        pytest.mark.provokes("config.no-volume"),
        pytest.mark.provokes("config.duplicate-name"),
        pytest.mark.provokes("config.reserved-name"),
        pytest.mark.provokes("config.unknown-service"),
        pytest.mark.provokes("config.cycle"),
        pytest.mark.provokes("config.unknown-owner"),
        pytest.mark.provokes("config.no-country"),
    )
}


def errors_of(call: object, *arguments: object) -> list[PiimageError]:
    with pytest.raises(PiimageError) as caught:
        call(*arguments)  # type: ignore[operator]
    error = caught.value
    assert error.exit_code == 2
    return list(error.errors) if isinstance(error, ErrorGroup) else [error]


@pytest.mark.parametrize(
    ("text", "code", "at", "message"), [pytest.param(*bad, marks=PROVOKES[bad[1]]) for bad in BAD]
)
def test_a_bad_file_is_refused_with_place_and_cause(
    tmp_path: Path, text: str, code: str, at: str, message: str
) -> None:
    file = tmp_path / "a.yml"
    file.write_text(text)
    (error,) = errors_of(load, [file])
    assert error.message == message.replace("DIR", str(tmp_path))
    assert (error.code, error.place) == (code, f"{file}:{at}")
    assert error.hint
    assert error.hint.split()[0] in HINTS


@pytest.mark.parametrize(("keys", "column", "message"), BAD_ENTRIES)
def test_a_bad_value_of_an_entry_is_refused_with_what_belongs_there(
    tmp_path: Path, keys: str, column: int, message: str
) -> None:
    file = tmp_path / "a.yml"
    file.write_text(f"services: [{{name: a, image: x, {keys}}}]")
    (error,) = errors_of(load, [file])
    assert str(error) == f"{file}:1:{column}: {message}"
    assert error.code == "config.value"


def test_every_error_of_a_file_is_reported_at_once_in_order(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text(
        "bord: pi4\n"
        "services:\n"
        "  - {name: a, use: sshd, helth: {}}\n"
        "  - {name: a, image: x, after: [b]}\n"
        "variables: [X]\n"
        "hostname: ${X}\n"
        "files: [{path: ../x, source: y}]\n"
    )
    errors = errors_of(load, [file])
    assert [(error.place or "").removeprefix(f"{file}:") for error in errors] == [
        "1:1", "3:26", "4:12", "4:33", "6:11", "7:16", "7:30",
    ]  # fmt: skip


def test_seconds_after_a_panic_may_be_given_for_a_system_with_updates(tmp_path: Path) -> None:
    text = "board: pi4\nslots: {updates: true}\nboot: {cmdline: [panic=0, panic=30]}\n"
    (tmp_path / "a.yml").write_text(text)
    assert load([tmp_path / "a.yml"]).boot.cmdline == ("panic=0", "panic=30")


def test_a_typing_error_is_met_with_the_key_that_was_meant(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text(
        "servces: []\nservices: [{name: a, image: x, board: b, resources: {memry: {}}}]"
    )
    hints = [error.hint for error in errors_of(load, [file])]
    assert hints[0] == "instead: services"
    assert hints[1] == "instead: board: at the top level of the file; services has no such key"
    assert hints[2] == "instead: memory"


def test_an_unknown_key_far_from_all_is_met_with_the_list(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text("data: {xyzzy: 1}")
    (error,) = errors_of(load, [file])
    assert error.hint == "instead: one of mount, size"


def test_the_error_of_an_alias_is_reported_once(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text(
        "services:\n"
        "  - {name: a, image: x, health: &h {tcp: b}}\n"
        "  - {name: b, image: x, health: *h}\n"
    )
    (error,) = errors_of(load, [file])
    assert error.place == f"{file}:2:42"


def test_a_longer_cycle_is_reported_once_with_its_way(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    entries = "".join(
        f"  - {{name: {name}, image: x, after: [{after}]}}\n"
        for name, after in [("a", "b"), ("b", "c"), ("c", "b"), ("d", "a")]
    )
    file.write_text(f"services:\n{entries}")
    (error,) = errors_of(load, [file])
    assert error.message == "these services wait for one another: b -> c -> b"


@pytest.mark.provokes("config.unreadable")
@pytest.mark.parametrize("name", ["missing.yml", ".", "a\0b"])
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    (error,) = errors_of(load, [tmp_path / name])
    assert error.code == "config.unreadable"


@pytest.mark.provokes("config.set")
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("hostname", "the option is not KEY=VALUE"),
        ("=x", "the option is not KEY=VALUE"),
        ("a..b=x", "the option is not KEY=VALUE"),
        ("services.b.image=x", "the list has no item 'b'; its items are a"),
        ("services.7.image=x", "the list has no item '7'; its items are a"),
        ("NAME=x", "no file lists the variable NAME"),
        ("hostname=[", "not YAML: while parsing a flow node: did not find expected node content"),
        ("hostname=!x y", "not YAML: the tag !x is not supported"),
    ],
)
def test_a_bad_set_is_refused(tmp_path: Path, setting: str, message: str) -> None:
    file = tmp_path / "a.yml"
    file.write_text(f"services: [{SERVICE}]")
    (error,) = errors_of(load, [file], [setting])
    assert (error.code, error.message, error.place) == ("config.set", message, f"--set {setting}")


def test_a_wrong_value_of_a_set_is_placed_there(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text("hostname: a")
    (error,) = errors_of(load, [file], ["hostname=a_b"])
    assert error.place == "--set hostname=a_b"


def test_a_bomb_of_aliases_is_refused_quickly(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    file.write_text("\n".join(["a0: &a0 lol", *levels]))
    (error,) = errors_of(load, [file])
    assert (error.code, error.message) == ("config.too-large", "too many values")


def test_aliases_cannot_nest_deeper_than_brackets(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    levels = [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 60)]
    file.write_text("\n".join(["a0: &a0 lol", *levels]))
    (error,) = errors_of(load, [file])
    assert (error.code, error.message) == ("config.too-large", "the nesting is too deep")


def test_a_file_that_is_too_large_is_not_parsed(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_bytes(b"#" * ((1 << 20) + 1))
    (error,) = errors_of(load, [file])
    assert error.code == "config.too-large"


def test_a_container_folder_has_the_same_messages(tmp_path: Path) -> None:
    (tmp_path / "service.yml").write_text(
        "name: a\npackges: []\nfiles: [{path: x, source: y}, {path: z}]\npython: [src]\n"
        "user: b\nconfig: {user: c, env: [A=1], seccomp: p.json}\n"
    )
    errors = errors_of(load_folder, tmp_path)
    assert [str(error).removeprefix(f"{tmp_path}/service.yml:") for error in errors] == [
        "2:1: unknown key 'packges'; instead: packages",
        f"3:27: there is no file '{tmp_path}/y'; instead: a path beside this file",
        "3:31: a file with both source and contents, or neither; instead: one of the two",
        f"4:10: '{tmp_path}/src' is not a Python project; instead: a folder with a pyproject.toml",
        f"6:40: there is no file '{tmp_path}/p.json'; instead: default, unconfined, or the path of "
        "a profile, relative to this file",
    ]


def test_a_folder_says_a_thing_in_one_place(tmp_path: Path) -> None:
    (tmp_path / "service.yml").write_text("name: a\nuser: b\nconfig: {user: c}\n")
    (error,) = errors_of(load_folder, tmp_path)
    assert error.message == "user is set both beside config and in it"


def test_a_system_layer_has_the_same_messages(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("name: a\nusers: [{name: Root, uid: 0, gid: 0}]\n")
    (error,) = errors_of(load_system, tmp_path / "a.yml")
    assert str(error).endswith(
        ":2:16: 'Root' is not a valid account name; instead: a name in lower case, such as sensor"
    )


@pytest.mark.parametrize("text", ['{"capabilties": []}', "[]", "{", '{"net": "hots"}'])
def test_a_bad_label_names_the_image(text: str) -> None:
    (error,) = errors_of(parse_label, text, "example/a:1")
    assert error.place
    assert error.place.startswith("example/a:1 (label org.mobyproject.config):")


def test_a_variable_without_a_value_is_met_with_all_ways_out(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("{variables: [X], hostname: '${X}'}")
    (error,) = errors_of(load, [tmp_path / "a.yml"])
    assert error.hint == (
        "set it in the environment or with --set X=VALUE, or give a default: ${X:-VALUE}; "
        "for a literal ${X} write $${X}"
    )


def test_each_overlay_of_config_txt_is_met_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("boot: {config: {dtoverlay: [w1-gpio, 'i2c-rtc,ds3231']}}")
    assert [(error.place, error.hint) for error in errors_of(load, [tmp_path / "a.yml"])] == [
        (f"{tmp_path}/a.yml:1:29", "instead: boot: { overlays: [w1-gpio] }"),
        (f"{tmp_path}/a.yml:1:38", "instead: boot: { overlays: [i2c-rtc] }; write the parameters "
         "into an overlay of your own (docs/boards.md)"),
    ]  # fmt: skip


def test_a_variable_within_a_default_is_refused_not_half_filled_in(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("{variables: [X, Y], hostname: '${X:-${Y:-z}}'}")
    assert "config.bad-variable" in {e.code for e in errors_of(load, [tmp_path / "a.yml"])}


@pytest.mark.parametrize("text", ["hostname: ${X}", "init: ['${X:-}a:1']", "timezone: ${X}"])
def test_a_variable_that_is_not_listed_is_named_where_it_is_no_text(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "a.yml").write_text(text)
    (error,) = errors_of(load, [tmp_path / "a.yml"])
    assert error.hint
    assert error.hint.endswith("; to use the variable ${X}, add `variables: [X]` at the top")


@pytest.mark.provokes("config.no-folder")
@pytest.mark.parametrize("key", ["use", "build"])
def test_a_name_that_no_file_system_takes_is_a_name_of_nothing(tmp_path: Path, key: str) -> None:
    path = tmp_path / "x.yml"
    path.write_text(f"board: pi4\nservices:\n- name: a\n  {key}: {'n' * 300}\n")
    with pytest.raises(PiimageError) as caught:
        load([path])
    found = getattr(caught.value, "errors", (caught.value,))
    assert "config.no-folder" in [error.code for error in found]
