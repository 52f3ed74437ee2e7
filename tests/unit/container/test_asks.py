"""What of an image's label counts only with consent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.config.container import (
    LABEL,
    ContainerConfig,
    linuxkit_defaults,
    merge,
    secure_defaults,
)
from piimage.config.values import key_of
from piimage.container.asks import asks
from piimage.container.rootfs import Root, notes_of
from piimage.container.spec import MASKED, READ_ONLY, Container, runtime_spec
from piimage.errors import InputError
from piimage.oci.models import Execution
from piimage.trees import file, folder
from tests.examples import examples


def config(**keys: Any) -> ContainerConfig:
    return ContainerConfig.model_validate(keys, by_alias=True, by_name=False)


def requested(label: dict[str, Any], **entry: Any) -> list[str]:
    return list(asks(config(**label), config(**entry)))


# Every field of a label: what it asks for with such a value. Nothing where it concerns the
# container alone, or takes something away.
FIELDS: list[tuple[str, Any, list[str]]] = [
    ("capabilities", ["CAP_CHOWN", "CAP_SYS_ADMIN"],
     ["capabilities: CAP_CHOWN", "capabilities: CAP_SYS_ADMIN"]),
    ("capabilities", ["all"], ["capabilities: all"]),
    ("capabilities", ["none"], []),
    ("capabilities.add", ["CAP_CHOWN"], ["capabilities: CAP_CHOWN"]),
    ("ambient", ["CAP_NET_RAW"], ["ambient: CAP_NET_RAW"]),
    ("binds", ["/:/host", "/dev:/dev:ro"], ["binds: /:/host", "binds: /dev:/dev:ro"]),
    ("binds.add", ["/:/host"], ["binds: /:/host"]),
    ("mounts", [{"type": "proc", "destination": "/p"}],
     ['mounts: {"destination": "/p", "type": "proc"}']),
    ("tmpfs", ["/tmp:size=1m"], []),
    ("devices", ["/dev/mem"], ['devices: {"path": "/dev/mem"}']),
    ("devices", [{"path": "all", "type": "c"}], ['devices: {"path": "all", "type": "c"}']),
    ("command", ["/x"], []),
    ("env", ["A=1"], []),
    ("settings", ["MQTT_PASSWORD"], ["settings: MQTT_PASSWORD"]),
    ("schedule", {"cron": "0 3 * * *"}, []),
    ("secrets", ["token"], ["secrets: token"]),
    ("cwd", "/x", []),
    ("net", "new", []), ("net", "host", []), ("net", "none", []),
    ("net", "/proc/1/ns/net", ["net: /proc/1/ns/net"]), ("net", "bridge", ["net: bridge"]),
    ("ports", ["80:80"], ["ports: 80:80"]),
    ("cgroupns", "new", []), ("cgroupns", "host", []),
    ("cgroupns", "/run/group", ["cgroupns: /run/group"]),
    ("ipc", "new", []), ("ipc", "/run/ipc", ["ipc: /run/ipc"]),
    ("uts", "root", []), ("uts", "/run/uts", ["uts: /run/uts"]),
    ("pid", "new", []), ("pid", "host", ["pid: host"]), ("pid", "root", ["pid: root"]),
    ("userns", "new", ["userns: new"]),
    ("uidMappings", [{"containerID": 0, "hostID": 0, "size": 9}],
     ['uidMappings: {"containerID": 0, "hostID": 0, "size": 9}']),
    ("gidMappings", [{"containerID": 0, "hostID": 0, "size": 9}],
     ['gidMappings: {"containerID": 0, "hostID": 0, "size": 9}']),
    ("readonly", True, []), ("readonly", False, []),
    ("maskedPaths", [], ["maskedPaths: []"]),
    ("maskedPaths", ["/proc/kcore"], ['maskedPaths: ["/proc/kcore"]']),
    ("maskedPaths", [*MASKED, "/proc/more"], []),
    ("readonlyPaths", [], ["readonlyPaths: []"]),
    ("readonlyPaths", [*READ_ONLY], []),
    ("noNewPrivileges", True, []), ("noNewPrivileges", False, ["noNewPrivileges: false"]),
    ("hostname", "box", []),
    ("oomScoreAdj", 5, []), ("oomScoreAdj", -5, ["oomScoreAdj: -5"]),
    ("annotations", {"a": "b"}, ["annotations: a=b"]),
    ("sysctl", {"net.ipv4.ip_forward": 1}, ["sysctl: net.ipv4.ip_forward=1"]),
    ("cgroupsPath", "services/other", ["cgroupsPath: services/other"]),
    ("rootfsPropagation", "shared", ["rootfsPropagation: shared"]),
    ("uid", 5, []), ("gid", 5, []), ("additionalGids", [5], []), ("user", "sensor", []),
    ("rlimits", ["rtprio,99,99"], ["rlimits: rtprio,99,99"]),
    ("resources", {"memory": {"limit": 16777216}, "cpu": {"shares": 5}, "pids": {"limit": 5},
                   "blockio": {"weight": 10}, "network": {"classID": 1},
                   "hugepageLimits": [{"pageSize": "2MB", "limit": 1}]}, []),
    ("resources", {"devices": [{"allow": True}, {"allow": False, "type": "b"}]},
     ['resources.devices: [{"allow": true}, {"allow": false, "type": "b"}]']),
    ("resources", {"unified": {"memory.min": "1"}}, ["resources.unified: memory.min=1"]),
    ("runtime", {"mkdir": ["/etc"], "cgroups": ["c"], "namespace": "n",
                 "mounts": [{"type": "tmpfs", "destination": "/t"}],
                 "interfaces": [{"name": "eth0"}], "bindNS": {"net": "/run/x"}},
     ["runtime.cgroups: c", 'runtime.mounts: {"destination": "/t", "type": "tmpfs"}',
      "runtime.mkdir: /etc", 'runtime.interfaces: {"name": "eth0"}',
      "runtime.bindNS: net=/run/x", "runtime.namespace: n"]),
    ("restart", "no", []), ("after", ["x"], []), ("health", {"tcp": "h:1"}, []),
    ("apparmor", "default", []), ("apparmor", "unconfined", ["apparmor: unconfined"]),
    ("seccomp", "default", []), ("seccomp", "unconfined", ["seccomp: unconfined"]),
    ("required", True, []), ("timeout", "5s", []), ("stop_timeout", "5s", []), ("log", {}, []),
    ("before_update", {"command": ["/x"]}, ["before_update: command=['/x']"]),
    ("system", True, []), ("system", False, []),
    ("control", True, ["control: true"]), ("control", False, []),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "expected"), FIELDS)
def test_what_a_label_asks_for(key: str, value: object, expected: list[str]) -> None:
    assert requested({key: value}) == expected


def test_every_field_of_a_label_was_judged() -> None:
    assert {key for key, _, _ in FIELDS} == {key_of(name) for name in ContainerConfig.model_fields}


def test_what_the_entry_says_itself_is_not_the_label_s() -> None:
    label = {"capabilities": ["CAP_CHOWN", "CAP_KILL"], "binds": ["/a:/a"], "pid": "host"}
    entry = {"capabilities": ["CAP_KILL"], "binds.add": ["/a:/a", "/b:/b"], "pid": "new"}
    assert requested(label, **entry) == []
    assert requested(label, **{"capabilities.add": ["CAP_KILL"]}) == [
        "capabilities: CAP_CHOWN", "binds: /a:/a", "pid: host",
    ]  # fmt: skip


def test_what_the_entry_lays_over_a_part_leaves_the_rest_asked_for() -> None:
    label = {"runtime": {"mkdir": ["/etc/x"], "cgroups": ["c"]}}
    assert requested(label, runtime={"mkdir": ["/run/y"]}) == ["runtime.cgroups: c"]
    unified = {"resources": {"unified": {"memory.high": "1"}}}
    assert requested(unified, resources={"pids": {"limit": 1}}) == []


def test_a_list_that_counts_as_a_whole_is_asked_for_as_a_whole() -> None:
    # Of a list that became shorter nothing must count as granted before.
    longer = requested({"maskedPaths": ["/proc/kcore", "/proc/keys"]})
    assert longer != requested({"maskedPaths": ["/proc/kcore"]})
    rules = [{"allow": True, "type": "c"}, {"allow": False, "type": "c", "major": 1}]
    assert {*requested({"resources": {"devices": rules[:1]}})} - {
        *requested({"resources": {"devices": rules}})
    }


def test_nothing_that_a_terminal_obeys_is_shown() -> None:
    (shown,) = requested({"binds": ["/a:/b\x1b[2J\u202e"]})
    assert shown == r'binds: "/a:/b\u001b[2J\u202e"'


@pytest.mark.provokes("oci.label-path")
def test_a_label_names_no_file_of_the_build_host() -> None:
    for key in ("seccomp", "apparmor"):
        with pytest.raises(InputError, match=f"names a file of this computer: {key}: /etc/shadow"):
            requested({key: "/etc/shadow"})
        assert requested({key: "/etc/shadow"}, **{key: "default"}) == []


def test_a_label_that_repeats_the_defaults_asks_for_nothing() -> None:
    defaults = merge(secure_defaults())
    assert asks(defaults, ContainerConfig()) == ()


HARMLESS = [(key, value) for key, value, expected in FIELDS if not expected]


@settings(max_examples=examples(50), deadline=None)
@given(st.lists(st.sampled_from(HARMLESS), unique_by=lambda field: field[0]))
def test_what_needs_no_consent_gives_no_privilege(fields: list[tuple[str, Any]]) -> None:
    # No uid beside a user, and no name for a UTS namespace that is the Pi's: both are refused.
    label = {key: value for key, value in fields if key not in ("uid", "gid", "hostname")}
    assert requested(label) == []
    held, plain = _spec(label), _spec({})
    assert held["process"]["capabilities"] == {}
    for part in ("noNewPrivileges", "rlimits"):
        assert held["process"].get(part) == plain["process"].get(part)
    assert held["process"].get("oomScoreAdj", 0) >= 0
    for part in ("seccomp", "sysctl", "devices", "rootfsPropagation", "cgroupsPath", "uidMappings"):
        assert held["linux"].get(part) == plain["linux"].get(part), part
    assert held["linux"]["resources"]["devices"] == [{"allow": False, "access": "rwm"}]
    for part in ("maskedPaths", "readonlyPaths"):
        assert {*held["linux"][part]} >= {*plain["linux"][part]}
    own = {space["type"] for space in held["linux"]["namespaces"] if "path" not in space}
    assert own >= {"pid", "mount"}
    kinds = {mount["destination"]: mount["type"] for mount in held["mounts"]}
    assert "bind" not in kinds.values()
    assert "ro" in next(o["options"] for o in held["mounts"] if o["destination"] == "/sys")


def _spec(label: dict[str, Any]) -> dict[str, Any]:
    merged = merge(linuxkit_defaults(), config(**label))
    account = file("etc/passwd", b"sensor:x:110:120::/:\n")
    root = Root([notes_of([folder("etc"), account])])
    image = Execution(cmd=("/x",), labels={LABEL: "{}"})
    container = Container("web", "services", "web", merged, image, root, (), "services.web")
    return runtime_spec(container, {})
