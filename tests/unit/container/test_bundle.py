from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.config.container import ContainerConfig, merge, secure_defaults
from piimage.container.bundle import (
    bundle,
    containers_tree,
    environment,
    folder_name,
    poststart,
    prestart,
    quote,
)
from piimage.container.ids import with_range
from piimage.container.rootfs import ProcessUser, Root, notes_of
from piimage.container.spec import Container, runtime_spec
from piimage.errors import ErrorGroup, InputError
from piimage.oci.models import Execution
from piimage.trees import Entry, folder, symlink
from tests.examples import examples

ROOT = Root([notes_of([folder(name) for name in ("dev", "proc", "sys", "etc")])])
MAPPING = [{"containerID": 0, "hostID": 100000, "size": 65536}]
SHELLS = [["dash"], ["busybox", "sh"]]


def container(
    kind: Any = "services", name: str = "web", root: Root = ROOT, **fields: Any
) -> Container:
    config = merge(secure_defaults(), ContainerConfig.model_validate(fields))
    at = folder_name(kind, 2, name)
    image = Execution(cmd=("/bin/x",))
    return Container(name, kind, at, config, image, root, ("aa", "bb"), "pi4.yml:9:5")


def env_of(root: Root = ROOT, **fields: Any) -> dict[str, str]:
    web = container(root=root, **fields)
    text = environment(web, runtime_spec(web, {}))
    script = f"{text}\nset | grep -E '^[A-Z_]+='"
    output = subprocess.run(
        ["busybox", "env", "-i", "dash", "-c", script], capture_output=True, check=True, text=True
    ).stdout
    names = {line.partition("=")[0] for line in text.splitlines() if "='" in line}
    values = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
    return {name: values[name][1:-1] for name in names}


def texts(entries: list[Entry]) -> dict[str, str]:
    return {entry.path: b"".join(entry.content()).decode() for entry in entries}


def test_a_containers_folder_holds_what_the_contract_says() -> None:
    made = texts(list(bundle(container("onboot", "dhcp"), {})))
    at = "onboot/002-dhcp"
    assert list(made) == [at, f"{at}/config.json", f"{at}/layers", f"{at}/container.env"]
    assert made[f"{at}/layers"] == "aa\nbb\n"
    spec = json.loads(made[f"{at}/config.json"])
    assert spec["root"]["path"] == "/run/piimage/rootfs/onboot/002-dhcp"
    assert made[f"{at}/container.env"] == "READONLY='1'\n"


def test_the_containers_layer_has_the_stanzas_of_the_services() -> None:
    tree = [container("onboot", "dhcp"), container(), container("onshutdown", "bye")]
    made = texts(list(containers_tree(tree, {})))
    assert made["finit.d/web.conf"] == (
        "service [2345] name:web restart:always restart_sec:1 kill:60 log:null "
        "/usr/lib/piimage/service web -- web\n"
    )
    assert [path for path in made if path.startswith("finit.d/")] == ["finit.d/web.conf"]
    assert {"onboot", "services", "onshutdown", "finit.d"} <= set(made)


def test_the_errors_of_all_containers_come_together() -> None:
    bad = [container(name=name, hostname=name, uts="host") for name in ("a", "b")]
    with pytest.raises(ErrorGroup) as caught:
        list(containers_tree(bad, {}))
    assert [error.code for error in caught.value.errors] == ["oci.hostname", "oci.hostname"]


def test_lifecycle_becomes_variables() -> None:
    env = env_of(
        restart={"policy": "on-failure", "backoff": "2s..30s"},
        after=["a", "b"],
        required=True,
        timeout="1m",
        stop_timeout=3,
        log={"size": "8K", "count": 2, "keep": "data"},
        health={"http": "http://127.0.0.1:80/x?a=b&c", "every": "10s", "timeout": 2, "start": 0},
        net="new",
    )
    assert env == {
        "READONLY": "1",
        "RESTART": "on-failure",
        "BACKOFF_MIN": "2",
        "BACKOFF_MAX": "30",
        "AFTER": "a b",
        "REQUIRED": "1",
        "TIMEOUT": "60",
        "STOP_TIMEOUT": "3",
        "LOG_SIZE": "8192",
        "LOG_COUNT": "2",
        "LOG_KEEP": "data",
        "HEALTH_KIND": "http",
        "HEALTH_TARGET": "http://127.0.0.1:80/x?a=b&c",
        "HEALTH_EVERY": "10",
        "HEALTH_TIMEOUT": "2",
        "HEALTH_RETRIES": "3",
        "HEALTH_START": "0",
        "HEALTH_NETNS": "1",
    }


@pytest.mark.parametrize(
    ("fields", "owner"),
    [
        ({"uid": 971, "gid": 972}, "971:972"),
        ({}, "0:0"),
        ({"uid": 971, "gid": 971, "uidMappings": MAPPING, "gidMappings": MAPPING}, "100971:100971"),
    ],
)
def test_the_pipe_for_requests_belongs_to_the_containers_user(
    fields: dict[str, Any], owner: str
) -> None:
    values = env_of(control=True, **fields)
    assert values["CONTROL"] == owner
    assert "run/control/" in values["POINTS"].split()


def test_no_other_container_gets_the_pipe() -> None:
    assert "CONTROL" not in env_of()
    assert "CONTROL" not in env_of(control=False)


@pytest.mark.parametrize(
    ("fields", "owner"),
    [
        ({"uid": 971, "gid": 972}, "971:972"),
        ({}, ""),
        ({"uid": 971, "gid": 971, "uidMappings": MAPPING, "gidMappings": MAPPING}, "100971:100971"),
    ],
)
def test_the_secrets_are_named_and_belong_to_the_containers_user(
    fields: dict[str, Any], owner: str
) -> None:
    values = env_of(secrets=["b", "a", "b"], **fields)
    assert values["SECRETS"] == "a b"
    assert values.get("SECRETS_OWNER", "") == owner
    assert "run/secrets/" in values["POINTS"].split()
    assert "SECRETS" not in env_of()


def test_the_folders_of_a_service_with_a_dot_in_its_name_are_folders() -> None:
    points = env_of(name="web.app", secrets=["a"], control=True)["POINTS"]
    assert {"run/secrets/", "run/control/"} <= {*points.split()}


def test_a_writable_root_of_a_user_namespace_is_owned_by_its_root() -> None:
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    env = env_of(readonly=False, uidMappings=mapping, gidMappings=mapping)
    assert env["UPPER_OWNER"] == "100000:100000"
    assert "IDMAP" not in env
    assert env["READONLY"] == "0"


def test_a_container_with_a_range_of_its_own_has_its_layers_and_folders_mapped() -> None:
    config = with_range(ContainerConfig.model_validate({"userns": "auto"}), "web")
    (whole,) = config.uid_mappings or ()
    ids = [whole.model_dump(by_alias=True)]
    env = env_of(userns="new", uidMappings=ids, gidMappings=ids, binds=["/data/web:/state"])
    assert env["IDMAP"] == f"b:0:{whole.host_id}:65536"
    assert env["MKDIR_OWNER"] == f"{whole.host_id}:{whole.host_id}"


def test_mount_points_that_the_image_lacks_are_named() -> None:
    root = Root([notes_of([folder("etc"), folder("dev"), symlink("data", "srv/data")])])
    env = env_of(
        root=root,
        binds=["/etc/resolv.conf:/etc/resolv.conf", "/data/web:/data", "/run/x.sock:/run/x.sock"],
        tmpfs=["/tmp"],
        mounts=[{"type": "tmpfs", "destination": "/tmp/inner"}],
    )
    points = "etc/resolv.conf proc/ run/x.sock srv/data/ sys/ tmp/"
    assert sorted(env["POINTS"].split()) == points.split()
    assert env["MKDIR"] == "/data/web"
    assert "POINTS" not in env_of(root=root, tmpfs=["/tmp"], readonly=False)


@pytest.mark.parametrize(
    ("fields", "owner"),
    [
        ({}, None),
        ({"user": "7:8"}, "7:8"),
        ({"user": "7"}, "7:0"),
        ({"uid": 5, "gid": 6}, "5:6"),
        ({"gid": 6}, "0:6"),
        # The container's root is this user of the Pi.
        ({"uidMappings": MAPPING, "gidMappings": MAPPING}, "100000:100000"),
        ({"user": "7:8", "uidMappings": MAPPING, "gidMappings": MAPPING}, "100007:100008"),
    ],
)
def test_folders_for_binds_belong_to_the_containers_user(
    fields: dict[str, Any], owner: str | None
) -> None:
    env = env_of(binds=["/data/web/b:/b", "/data/web:/a:ro", "/etc/x:/x"], **fields)
    assert env["MKDIR"] == "/data/web /data/web/b"
    assert env.get("MKDIR_OWNER") == owner


def test_folders_for_binds_among_the_mounts_are_made_too() -> None:
    mounts = [
        {"type": "bind", "source": "/data/web", "destination": "/a", "options": ["rbind"]},
        {"type": "tmpfs", "destination": "/data/not"},
        {"type": "bind", "source": "/etc", "destination": "/e", "options": ["bind"]},
    ]
    assert env_of(mounts=mounts)["MKDIR"] == "/data/web"


def test_folders_that_linuxkits_mkdir_names_stay_roots() -> None:
    fields: dict[str, Any] = {
        "user": "7:8", "binds": ["/data/own:/a"], "runtime": {"mkdir": ["/data/x", "/data/own"]}
    }  # fmt: skip
    env = env_of(**fields)
    assert (env["MKDIR"], env["MKDIR_OWNER"]) == ("/data/own", "7:8")
    script = prestart(container(**fields), ProcessUser(7, 8))
    assert run_with_stubs(script, "mkdir", "make_folder") == ["mkdir|-p|/data/x"]
    # Root's container needs no script for them.
    assert env_of(runtime={"mkdir": ["/data/x"]})["MKDIR"] == "/data/x"
    assert prestart(container(runtime={"mkdir": ["/data/x"]}), ProcessUser()) == ""


def test_a_folder_whose_name_no_list_can_hold_gets_its_owner_from_the_script() -> None:
    web = container(binds=["/data/it's mine:/a"])
    for user, owner in ((ProcessUser(7, 8), "7:8"), (ProcessUser(), "0:0")):
        made = run_with_stubs(prestart(web, user), "make_folder")
        assert made == [f"make_folder|/data/it's mine|{owner}"]


@pytest.mark.parametrize(
    ("cwd", "points"),
    [("/srv/new", "dev/ proc/ srv/new/ sys/"), ("/etc", "dev/ proc/ sys/"),
     ("/tmp/x", "dev/ proc/ sys/ tmp/"), ("/", "dev/ proc/ sys/")],
)  # fmt: skip
def test_a_working_folder_that_the_image_lacks_is_made(cwd: str, points: str) -> None:
    """runc would create it: it cannot in a read-only root, but it can inside a mount."""
    root = Root([notes_of([folder("etc")])])
    env = env_of(root=root, cwd=cwd, **({"tmpfs": ["/tmp"]} if cwd == "/tmp/x" else {}))
    assert sorted(env["POINTS"].split()) == points.split()


@pytest.mark.provokes("oci.mount-point")
def test_a_missing_mount_point_that_no_list_can_hold_is_refused() -> None:
    with pytest.raises(InputError, match="needs '/a b', which its image lacks"):
        env_of(tmpfs=["/a b"])


@pytest.mark.provokes("oci.unsupported")
def test_another_namespace_of_containerd_is_refused() -> None:
    with pytest.raises(InputError, match="containerd's namespace other"):
        list(bundle(container(runtime={"namespace": "other"}), {}))


@settings(max_examples=examples(60), deadline=None)
@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=30))
def test_what_is_quoted_arrives_in_every_shell(value: str) -> None:
    for shell in SHELLS:
        output = subprocess.run(
            [*shell, "-c", f'X={quote(value)}\nprintf %s "$X"'], capture_output=True, check=True
        ).stdout
        assert output == value.encode()


@settings(max_examples=examples(40), deadline=None)
@given(
    st.lists(
        st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=12),
        min_size=1,
        max_size=4,
    ).filter(lambda words: words[0].strip())
)
def test_a_health_command_arrives_word_by_word(words: list[str]) -> None:
    web = container(health={"command": words})
    text = environment(web, runtime_spec(web, {}))
    script = f'{text}\neval "set -- $HEALTH_TARGET"\nfor w; do printf \'%s\\0\' "$w"; done'
    for shell in SHELLS:
        output = subprocess.run([*shell, "-c", script], capture_output=True, check=True).stdout
        assert output.decode().split("\0")[:-1] == words


def run_with_stubs(script: str, *names: str) -> list[str]:
    """What `script` would do: each program of `names` prints its arguments instead."""
    stubs = "".join(f'{name}() {{ printf "%s|" {name} "$@"; echo; }}\n' for name in names)
    output = subprocess.run(
        ["busybox", "sh", "-euc", f"PID=42\n{stubs}{script}"],
        capture_output=True, check=True, text=True,
    ).stdout  # fmt: skip
    return [line.removesuffix("|") for line in output.splitlines()]


def commands(script: str) -> set[str]:
    """Return the words that begin a command of a script as the build writes it."""
    return set(re.findall(r"(?:^|\|\| )(\w+)", script, re.MULTILINE))


def available() -> set[str]:
    """Return what a script of a container can call: applets that the Pi has, and functions."""
    appliance = Path(__file__).parents[3] / "appliance"
    applets = yaml.safe_load((appliance / "system/base.yml").read_text())["applets"]["names"]
    found = set(applets.split())
    for name in ("lib.sh", "container.sh"):
        text = (appliance / "rootfs/usr/lib/piimage" / name).read_text()
        found |= set(re.findall(r"^(\w+)\(\)", text, re.MULTILINE))
    return found


def test_the_runtime_section_becomes_scripts() -> None:
    web = container(
        runtime={
            "mkdir": ["/run/it's", "/data/a"],
            "cgroups": ["/pods"],
            "mounts": [
                {"type": "overlay", "source": "overlay", "destination": "/run/o",
                 "options": ["lowerdir=/l", "upperdir=/run/u u", "workdir=/run/w"]}
            ],
            "interfaces": [
                {"name": "veth0", "peer": "veth1"},
                {"name": "wg0", "add": "wireguard", "createInRoot": True},
                {"name": "dummy0", "add": "dummy"},
                {"name": "eth1"},
            ],
            "bindNS": {"net": "/run/netns/web"},
        }
    )  # fmt: skip
    assert {*commands(prestart(web, ProcessUser())), *commands(poststart(web))} <= available()
    before = prestart(web, ProcessUser()).replace("is_mounted", "false")
    assert run_with_stubs(before, "mkdir", "mount") == [
        "mkdir|-p|/run/o",
        "mkdir|-p|/run/u u",
        "mkdir|-p|/run/w",
        "mount|-t|overlay|-o|lowerdir=/l,upperdir=/run/u u,workdir=/run/w|overlay|/run/o",
        "mkdir|-p|/sys/fs/cgroup/piimage/pods",
        "mkdir|-p|/run/it's",
        "mkdir|-p|/data/a",
    ]
    after = poststart(web).replace(": >", ": ")
    assert run_with_stubs(after, "add_veth", "ip", "nsenter", "mkdir", "mount") == [
        "add_veth|veth0|veth1",
        "ip|link|set|dev|veth0|netns|42",
        "ip|link|add|name|wg0|type|wireguard",
        "ip|link|set|dev|wg0|netns|42",
        "nsenter|-t|42|-n|ip|link|add|name|dummy0|type|dummy",
        "ip|link|set|dev|eth1|netns|42",
        "mkdir|-p|/run/netns",
        "mount|-o|bind|/proc/42/ns/net|/run/netns/web",
    ]


def test_what_runs_once_gets_its_interfaces_from_runc_before_it_starts() -> None:
    runtime = {"interfaces": [{"name": "eth1"}]}
    config = json.loads(
        texts(list(bundle(container("onboot", "net", runtime=runtime), {})))[
            "onboot/002-net/config.json"
        ]
    )
    program = "/usr/lib/piimage/hook"
    script = "/containers/onboot/002-net/poststart"
    hooks = config["hooks"]["createRuntime"]
    assert hooks == [{"path": program, "args": ["hook", script]}]
    made = texts(list(bundle(container(runtime=runtime), {})))
    service = json.loads(next(t for n, t in made.items() if n.endswith("config.json")))
    assert set(service["hooks"]) == {"createContainer"}


def test_a_device_is_copied_for_the_user_that_opens_it() -> None:
    script = prestart(container(devices=["/dev/null"]), ProcessUser(110, 120))
    assert run_with_stubs(script, "grant_device") == [
        "grant_device|services/web|/dev/null|c|0600|110:120|/dev/piimage/services/web/null"
    ]
    script = prestart(
        container("onboot", devices=[{"path": "/dev/vda", "mode": "0640"}]), ProcessUser()
    )
    assert run_with_stubs(script, "grant_device") == [
        "grant_device|onboot/002-web|/dev/vda|b|0640|0:0|/dev/piimage/onboot/002-web/vda"
    ]


def test_in_a_user_namespace_the_node_belongs_to_the_mapped_user() -> None:
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    web = container(devices=["/dev/null"], uidMappings=mapping, gidMappings=mapping)
    (line,) = run_with_stubs(prestart(web, ProcessUser(110, 120)), "grant_device")
    assert "|100110:100120|" in line


def test_the_pi_knows_every_variable_that_is_written() -> None:
    library = Path(__file__).parents[3] / "appliance/rootfs/usr/lib/piimage/container.sh"
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    web = container(
        readonly=True, tmpfs=["/t"], binds=["/data/x:/t/x"], after=["a"], required=True,
        timeout=5, stop_timeout=3, restart="no", log={"keep": "data"}, health={"tcp": "h:1"},
        net="new",
        uidMappings=mapping, gidMappings=mapping, settings=["A"], devices=["/dev/null"],
    )  # fmt: skip
    writable = container(readonly=False, uidMappings=mapping, gidMappings=mapping)
    written = {
        line.partition("=")[0]
        for each in (web, writable)
        for line in environment(each, runtime_spec(each, {})).splitlines()
    }
    assert len(written) == 25
    defaults = re.search(r"^load_container\(\) \{(.*?)^\}", library.read_text(), re.S | re.M)
    assert defaults
    assert written - set(re.findall(r"^\t([A-Z_]+)=", defaults[1], re.M)) == set()
