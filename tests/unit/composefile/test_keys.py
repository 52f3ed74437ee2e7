"""Each key of Compose by the line that does the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from piimage.composefile.hints import instead
from piimage.composefile.keys import CONVERTERS
from piimage.config.load import load
from piimage.errors import ErrorGroup, PiimageError

# (word, value, the line). What each word means: the Compose specification; what each line means:
# docs/reference/yaml.md.
LINES = [
    ("annotations", "{a: b}", "annotations: {a: b}"),
    ("build", "./app", "build: ./app"),
    ("build", "{context: app}", "build: app"),
    ("cap_add", "[NET_ADMIN, CAP_SYS_TIME]", "capabilities: [CAP_NET_ADMIN, CAP_SYS_TIME]"),
    ("cap_add", "[ALL]", "capabilities: [all]"),
    ("cgroup_parent", "a", "cgroupsPath: a"),
    ("command", "redis-server --save '60 1'", "command: [redis-server, --save, 60 1]"),
    ("cpu_shares", "512", "resources: {cpu: {shares: 512}}"),
    ("cpus", "0.5", "resources: {cpu: {period: 100000, quota: 50000}}"),
    ("cpuset", "0-2", "resources: {cpu: {cpus: 0-2}}"),
    ("depends_on", "[db, cache]", "after: [db, cache]"),
    ("depends_on", "{db: {condition: service_healthy}}", "after: [db]"),
    ("deploy", "{resources: {limits: {memory: 64M, pids: 9}}}",
     "resources: {memory: {limit: 64M}, pids: {limit: 9}}"),
    ("devices", "['/dev/ttyUSB0:/dev/ttyUSB0:rw']", "devices: [/dev/ttyUSB0]"),
    ("entrypoint", "/bin/a", "command: [/bin/a]"),
    ("environment", "{TZ: Europe/London, N: 1, B: true}",
     "env: [TZ=Europe/London, N=1, B=true]"),
    ("environment", "[A=1]", "env: [A=1]"),
    ("group_add", "[20]", "additionalGids: [20]"),
    ("healthcheck", "{test: [CMD, a, b], interval: 1m30s, timeout: 500ms}",
     "health: {command: [a, b], every: 90s, retries: 3, start: 0s, timeout: 1s}"),
    ("healthcheck", "{test: [CMD-SHELL, 'a | b'], timeout: 5s}",
     "health: {command: [sh, -c, a | b], every: 30s, retries: 3, start: 0s, timeout: 5s}"),
    ("healthcheck", "{test: a || b, timeout: 5s}",
     "health: {command: [sh, -c, a || b], every: 30s, retries: 3, start: 0s, timeout: 5s}"),
    ("hostname", "a", "hostname: a, uts: new"),
    ("cgroup", "private", "cgroupns: new"),
    ("cgroup", "host", "cgroupns: host"),
    ("ipc", "private", "ipc: new"),
    ("labels", "[a=b]", "annotations: {a: b}"),
    ("logging", "{options: {max-size: 10m, max-file: '3'}}", "log: {count: 3, size: 10M}"),
    ("mem_limit", "128m", "resources: {memory: {limit: 128M}}"),
    ("mem_reservation", "1g", "resources: {memory: {reservation: 1G}}"),
    ("memswap_limit", "-1", "resources: {memory: {swap: -1}}"),
    ("network_mode", "host", "net: host"),
    ("network_mode", "none", "net: none"),
    ("oom_score_adj", "-5", "oomScoreAdj: -5"),
    ("pid", "host", "pid: host"),
    ("pids_limit", "10", "resources: {pids: {limit: 10}}"),
    ("privileged", "true",
     "capabilities: [all], seccomp: unconfined, noNewPrivileges: false, "
     "devices: [{mode: rwm, path: all, type: a}], binds: ['/dev:/dev']"),
    ("read_only", "true", "readonly: true"),
    ("restart", "unless-stopped", "restart: always"),
    ("security_opt", "['no-new-privileges:true']", "noNewPrivileges: true"),
    ("security_opt", "[seccomp=unconfined]", "seccomp: unconfined"),
    ("security_opt", "['apparmor:unconfined']", "apparmor: unconfined"),
    ("security_opt", "[apparmor=docker-default]", "apparmor: default"),
    ("shm_size", "64m", "tmpfs: ['/dev/shm:size=64m']"),
    ("stop_grace_period", "20s", "stop_timeout: 20s"),
    ("read_only", "'false'", "readonly: false"),
    ("sysctls", "[kernel.shmmax=1]", "sysctl: {kernel.shmmax: '1'}"),
    ("tmpfs", "/run", "tmpfs: [/run]"),
    ("ulimits", "{nofile: {soft: 100, hard: 200}, core: -1}",
     "rlimits: ['nofile,100,200', 'core,unlimited,unlimited']"),
    ("user", "1000", "user: '1000'"),
    ("userns_mode", "host", "userns: host"),
    ("volumes", "['cache:/var/cache']",
     "binds: ['/data/volumes/cache:/var/cache'], runtime: {mkdir: [/data/volumes/cache]}"),
    ("volumes", "[{type: tmpfs, target: /run}]", "tmpfs: [/run]"),
    ("volumes", "[{type: tmpfs, target: /t, tmpfs: {size: 64m}}]",
     "tmpfs: ['/t:size=64m']"),
    ("mem_limit", "1.5g", "resources: {memory: {limit: 1610612736}}"),
    ("volumes", "['/sys/class:/c:ro']", "binds: ['/sys/class:/c:ro']"),
    ("working_dir", "/srv", "cwd: /srv"),
]  # fmt: skip
# (word, value, what the advice has in it)
ADVICE = [
    ("ports", "['8080:80']", "uses the host's network and answers at its port 80, not at 8080"),
    ("ports", "['80:80']", "remove it; a service uses the host's network and its port 80"),
    ("ports", "['127.0.0.1:80:80/udp']", "80 is open to the whole network, not only to 127.0.0.1"),
    ("ports", "[{target: 80, published: '81'}]", "answers at its port 80, not at 81"),
    ("env_file", ".env", "env: [NAME=VALUE], with the lines of .env"),
    ("ports", "['${PORT:-8080}:80/tcp']", "at its port 80, not at ${PORT:-8080}"),
    (
        "volumes",
        "['${MEDIA:-/media/x}:/data']",
        "${MEDIA:-/media/x} becomes /data/volumes/MEDIA",
    ),
    ("volumes", "[/cache]", "binds: ['/data/volumes/NAME-cache:/cache']"),
    ("secrets", "[s]", "secrets: [s], its value: piimage flash … --secret s=FILE, or piimage "),
    ("configs", "[{source: c, target: /etc/c}]", "'/etc/compose/configs/c:/etc/c:ro'"),
    ("volumes", "['./a.conf:/etc/a.conf']", "files: [{path: etc/compose/NAME/etc-a.conf, source: "),
    ("volumes", "['/var/run/docker.sock:/x']", "the Pi has no Docker"),
    ("extra_hosts", "['a:192.0.2.1']", 'contents: "192.0.2.1 a'),
    ("cap_drop", "[ALL]", "remove it"),
    ("networks", "[a]", "remove it; all services use the host's network"),
    ("network_mode", "bridge", "a service uses the host's network or none"),
    ("container_name", "a", "name: a"),
    ("tty", "true", "remove it"),
    ("dns", "[192.0.2.1]", "network: { ethernet: { dns: […] } }"),
    ("extends", "{service: a}", "`docker compose config > FULL.yml`"),
    ("stop_grace_period", "2m", "a service has 45 s to stop, not 120 s"),
    ("sysctls", "[net.ipv4.ip_forward=1]", 'sysctl: {net.ipv4.ip_forward: "1"} at the top level'),
    ("volumes", "['C:\\\\data:/data']", "not mounted, because this is a Windows path"),
    ("build", "https://example.org/a.git", "is not fetched; name a folder that has a copy"),
    (
        "deploy",
        "{resources: {reservations: {devices: [{}]}}}",
        "name the devices of the Pi in devices:",
    ),
    ("mem_limit", "{}", "its value is not understood"),
]


@pytest.mark.parametrize(("word", "value", "line"), LINES)
def test_a_word_of_compose_is_met_with_the_line_that_does_the_same(
    word: str, value: str, line: str, tmp_path: Path
) -> None:
    assert instead(word, yaml.safe_load(value)) == line
    # The line is one that piimage takes.
    (tmp_path / "Dockerfile").write_text("")
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "Dockerfile").write_text("")
    entry = {"name": "a", "image": "x", **yaml.safe_load(f"{{{line}}}")}
    if "build" in entry:
        del entry["image"]
    others = [{"name": name, "image": "x"} for name in ("db", "cache")]
    file = tmp_path / "a.yml"
    file.write_text(yaml.safe_dump({"services": [entry, *others]}))
    load([file])


# Words that piimage has as well, with values that it takes.
SHARED = {"annotations", "devices", "hostname", "ipc", "pid", "user"}


@pytest.mark.parametrize(
    ("word", "value", "line"),
    [line for line in LINES if line[0] not in SHARED and line[1] != "./app"],
)
def test_check_says_the_line(word: str, value: str, line: str, tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    way = "" if word == "build" else "image: x, "
    file.write_text(f"services: [{{name: a, {way}{word}: {value}}}]")
    with pytest.raises(PiimageError) as caught:
        load([file])
    errors = caught.value.errors if isinstance(caught.value, ErrorGroup) else (caught.value,)
    assert f"instead: {line}" in {error.hint for error in errors}


@pytest.mark.parametrize(("word", "value", "advice"), ADVICE)
def test_a_word_without_a_line_is_met_with_advice(word: str, value: str, advice: str) -> None:
    replacement = instead(word, yaml.safe_load(value))
    assert replacement is not None
    assert advice in replacement


def test_every_word_that_is_carried_over_is_tried_here() -> None:
    tried = {word for word, *_ in (*LINES, *ADVICE)}
    quiet = {"cpu_period", "cpu_quota", "expose", "image", "platform", "pull_policy", "stdin_open",
             "stop_signal"}  # fmt: skip
    assert set(CONVERTERS) - tried == quiet


def test_a_word_that_is_not_compose_s_is_none() -> None:
    assert instead("imgae", "x") is None


@pytest.mark.parametrize("check", ["[CMD-SHELL, 'a || b']", "[CMD, sh, -c, 'a || b']"])
def test_a_check_in_compose_s_form_is_met_with_its_program(check: str, tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text(f"services: [{{name: a, image: x, health: {{command: {check}}}}}]")
    with pytest.raises(PiimageError) as caught:
        load([file])
    assert caught.value.hint == 'instead: command: ["sh", "-c", "a || b"]'
