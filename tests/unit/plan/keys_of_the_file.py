"""The keys of the file, each with two files that differ in it."""

from __future__ import annotations

from collections.abc import Mapping

from .outcomes import Data


def service(**fields: object) -> Data:
    own = {"name": "a", "packages": ["busybox-static"], "command": ["/bin/x"]} | fields
    return {"services": [{key: value for key, value in own.items() if value is not None}]}


def wired(**fields: object) -> Data:
    return {"network": {"ethernet": {"address": "10.0.0.2/24", **fields}}}


def resources(**fields: object) -> Data:
    return service(resources=fields)


def once(**fields: object) -> Data:
    return {"onboot": service(**fields)["services"]}


def inside(**fields: object) -> Data:
    return service(runtime=fields)


def checked(**fields: object) -> Data:
    return {**service(use="sshd", packages=None, command=None, name="s"),
            "test": {"checks": [{"timeout": 10, **fields}]}}  # fmt: skip


def chip(**fields: object) -> Data:
    own = {"name": "a", "chip": "bme280", "bus": "i2c1", "address": 0x76} | fields
    return {"board": "pi4", "sensors": [own]}


def wire(**fields: object) -> Data:
    own = {"name": "a", "chip": "ds18b20", "bus": "w1", **fields}
    return {"board": "pi4", "sensors": [own]}


def select(**fields: object) -> Data:
    own = {"name": "a", "chip": "bme280", "bus": "spi0", "cs": 0, **fields}
    return {"board": "pi4", "sensors": [own]}


def line(**fields: object) -> Data:
    return {"board": "pi4", "gpio": [{"name": "a", "kind": "input", "line": 17, **fields}]}


def relay(**fields: object) -> Data:
    return line(kind="output", **fields)


def stick(**fields: object) -> Data:
    return {"disks": [{"name": "a", "label": "A", **fields}]}


def rule(**fields: object) -> Data:
    return resources(devices=[{"allow": True, "type": "c", "major": 1, **fields}])


def weights(**fields: object) -> Data:
    return resources(blockio={"weightDevice": [{"major": 8, "minor": 0, **fields}]})


def throttle(**fields: object) -> Data:
    own = {"major": 8, "minor": 0, "rate": 5} | fields
    return resources(blockio={"throttleReadBpsDevice": [own]})


def mount(**fields: object) -> Data:
    return service(mounts=[{"type": "tmpfs", "source": "x", "destination": "/x", **fields}])


def mapped(**fields: object) -> Data:
    ids = {"hostID": 5, "containerID": 0, "size": 9} | fields
    return service(userns="new", uidMappings=[ids], gidMappings=[ids])


def prepared(**fields: object) -> Data:
    return service(before_update={"command": ["/x"], **fields})


def signed(key: str = "ours", *certificates: str) -> Data:
    names = [f"{name}.pem" for name in certificates or ("ours",)]
    sshd = service(use="sshd", packages=None, command=None, name="s")
    return {**sshd, "signing": {"key": f"{key}.key", "certificates": names}}


def calling(**fields: object) -> Data:
    return {**signed(), "updates": {"server": "http://updates", **fields}}


OTHER = {"hostID": 6, "containerID": 0, "size": 9}


MAPPED: Data = {key: value for key, value in mapped()["services"][0].items() if key != "name"}


def device(**fields: object) -> Data:
    return service(devices=[{"path": "/dev/x", "type": "c", "major": 1, "minor": 2, **fields}])


def file(**fields: object) -> Data:
    return {"files": [{"path": "etc/x", "contents": "x", **fields}]}


def volume(**fields: object) -> Data:
    return {**service(binds=["v:/v"]), "volumes": [{"name": "v", "image": "one", **fields}]}


def health(**fields: object) -> Data:
    return service(health={"tcp": "localhost:1", "every": 9, **fields})


def kernel(**fields: object) -> Data:
    return {"kernel": {"image": "one", **fields}}


Change = tuple[Data, Data]


A: Data = service()


APPLIANCE: Mapping[str, Change] = {
    "board": ({"board": "pi4"}, {"board": "pi3"}),
    "hostname": ({}, {"hostname": "b"}),
    "variables": (
        {"sysctl": {"kernel.x": "${X}"}},
        {"sysctl": {"kernel.x": "${X}"}, "variables": ["X"]},
    ),
    "kernel": ({}, {"kernel": {"cmdline": "x"}}),
    "init": ({}, {"init": ["one"]}),
    "onboot": ({}, once()),
    "onshutdown": ({}, {"onshutdown": A["services"]}),
    "services": ({}, A),
    "volumes": (A, {**A, "volumes": [{"name": "v", "image": "one"}]}),
    "files": ({}, file()),
    "modules": ({}, {"modules": ["veth"]}),
    "sensors": ({}, chip()),
    "gpio": ({}, line()),
    "disks": ({}, stick()),
    "ssh": ({}, {"ssh": {"authorized_keys": ["ssh-ed25519 AAAA x"]}}),
    "network": ({}, wired()),
    "boot": ({}, {"boot": {"cmdline": "x"}}),
    "data": ({}, {"data": {"size": "32M"}}),
    "slots": ({}, {"slots": {"size": "256M"}}),
    "version": ({}, {"version": 5}),
    "signing": (service(use="sshd", packages=None, command=None, name="s"), signed()),
    "updates": (signed(), calling()),
    "console": ({}, {"console": "hdmi"}),
    "log": (A, {**A, "log": {"console": True}}),
    "runtime": ({}, {"runtime": "runc"}),
    "timezone": ({}, {"timezone": "Asia/Tokyo"}),
    "sysctl": ({}, {"sysctl": {"kernel.panic": "1"}}),
    "test": ({}, {"test": {"timeout": 5}}),
}


KERNEL: Mapping[str, Change] = {
    "image": ({}, kernel()),
    "cmdline": ({}, {"kernel": {"cmdline": "x"}}),
    "binary": (kernel(), kernel(binary="b")),
    "tar": (kernel(), kernel(tar="t")),
}


ENTRY: Mapping[str, Change] = {
    "name": (A, service(name="b")),
    "image": (service(packages=None, image="one"), service(packages=None, image="two")),
    "build": (service(packages=None, build="f"), service(packages=None, build="g")),
    "use": (service(packages=None, use="sshd"), service(packages=None, use="ntp")),
    "packages": (A, service(packages=["bash"])),
    "entrypoint": (
        service(command=None, entrypoint=["/bin/x"]),
        service(command=None, entrypoint=["/bin/y"]),
    ),
}


CONFIG: Mapping[str, Change] = {
    "capabilities": (A, service(capabilities=["CAP_CHOWN"])),
    "capabilities_add": (A, service(**{"capabilities.add": ["CAP_CHOWN"]})),
    "ambient": (
        service(capabilities=["CAP_CHOWN"]),
        service(capabilities=["CAP_CHOWN"], ambient=["CAP_CHOWN"]),
    ),
    "binds": (A, service(binds=["/x:/x"])),
    "binds_add": (A, service(**{"binds.add": ["/x:/x"]})),
    "mounts": (A, mount()),
    "tmpfs": (A, service(tmpfs=["/x"])),
    "devices": (A, device()),
    "command": (A, service(command=["/bin/y"])),
    "env": (A, service(env=["A=b"])),
    "settings": (A, service(settings=["A"])),
    "secrets": (A, service(secrets=["a"])),
    "schedule": (A, service(schedule="0 3 * * *")),
    "cwd": (A, service(cwd="/x")),
    "net": (A, service(net="new")),
    "ports": (service(net="bridge"), service(net="bridge", ports=["80:80"])),
    "ipc": (A, service(ipc="host")),
    "cgroupns": (A, service(cgroupns="host")),
    "uts": (A, service(uts="new")),
    "pid": (A, service(pid="host")),
    "userns": (mapped(), service(uidMappings=[{"hostID": 5, "containerID": 0, "size": 9}])),
    "uid_mappings": (mapped(), service(**{**MAPPED, "uidMappings": [OTHER]})),
    "gid_mappings": (mapped(), service(**{**MAPPED, "gidMappings": [OTHER]})),
    "readonly": (A, service(readonly=False)),
    "masked_paths": (A, service(maskedPaths=["/proc/x"])),
    "readonly_paths": (A, service(readonlyPaths=["/proc/x"])),
    "no_new_privileges": (A, service(noNewPrivileges=False)),
    "control": (A, service(control=True)),
    "hostname": (service(uts="new"), service(uts="new", hostname="b")),
    "oom_score_adj": (A, service(oomScoreAdj=5)),
    "annotations": (A, service(annotations={"a": "b"})),
    "sysctl": (service(net="new"), service(net="new", sysctl={"net.core.somaxconn": "5"})),
    "cgroups_path": (A, service(cgroupsPath="/piimage/x")),
    "rootfs_propagation": (A, service(rootfsPropagation="shared")),
    "uid": (A, service(uid=5)),
    "gid": (A, service(gid=5)),
    "additional_gids": (A, service(additionalGids=[5])),
    "rlimits": (A, service(rlimits=["nofile,5,5"])),
    "resources": (A, resources(pids={"limit": 5})),
    "runtime": (A, inside(mkdir=["/data/x"])),
    "restart": (A, service(restart="no")),
    "after": (
        {"services": [*A["services"], {**A["services"][0], "name": "b"}]},
        {"services": [*A["services"], {**A["services"][0], "name": "b", "after": ["a"]}]},
    ),
    "health": (A, health()),
    "seccomp": (A, service(seccomp="unconfined")),
    "apparmor": (A, service(apparmor="unconfined")),
    "user": (A, service(user="5:5")),
    "required": (once(), once(required=True)),
    "timeout": (once(), once(timeout=5)),
    "stop_timeout": (A, service(stop_timeout=5)),
    "before_update": (A, prepared()),
    "log": (A, service(log={"size": 8192})),
}


NESTED: Mapping[str, Mapping[str, Change]] = {
    "Mount": {
        "destination": (mount(), mount(destination="/y")),
        "type": (mount(), mount(type="proc")),
        "source": (mount(), mount(source="y")),
        "options": (mount(), mount(options=["ro"])),
    },
    "Device": {
        "path": (device(), device(path="/dev/y")),
        "type": (device(), device(type="b")),
        "major": (device(), device(major=5)),
        "minor": (device(), device(minor=5)),
        "mode": (device(), device(mode="0640")),
    },
    "IdMapping": {
        "host_id": (mapped(), mapped(hostID=6)),
        "container_id": (mapped(), mapped(containerID=1)),
        "size": (mapped(), mapped(size=10)),
    },
    "Resources": {
        "devices": (A, rule()),
        "memory": (A, resources(memory={"limit": "9M"})),
        "cpu": (A, resources(cpu={"shares": 5})),
        "pids": (A, resources(pids={"limit": 5})),
        "blockio": (A, resources(blockio={"weight": 50})),
        "hugepage_limits": (A, resources(hugepageLimits=[{"pageSize": "2MB", "limit": 4}])),
        "network": (A, resources(network={"classID": 5})),
        "unified": (A, resources(unified={"memory.high": "5"})),
    },
    "DeviceRule": {
        "allow": (rule(), rule(allow=False)),
        "type": (rule(), rule(type="b")),
        "major": (rule(), rule(major=5)),
        "minor": (rule(), rule(minor=5)),
        "access": (rule(), rule(access="r")),
    },
    "Memory": {
        "limit": (A, resources(memory={"limit": "9M"})),
        "reservation": (A, resources(memory={"reservation": "9M"})),
        "swap": (A, resources(memory={"swap": "9M"})),
        "kernel": (A, resources(memory={"kernel": "9M"})),
        "kernel_tcp": (A, resources(memory={"kernelTCP": "9M"})),
        "swappiness": (A, resources(memory={"swappiness": 5})),
        "disable_oom_killer": (A, resources(memory={"disableOOMKiller": True})),
    },
    "Cpu": {
        name: (A, resources(cpu={key: value}))
        for name, key, value in (
            ("shares", "shares", 5), ("quota", "quota", 5000),
            ("period", "period", 5000), ("realtime_runtime", "realtimeRuntime", 5),
            ("realtime_period", "realtimePeriod", 5), ("cpus", "cpus", "0"), ("mems", "mems", "0"),
        )
    },
    "Pids": {"limit": (resources(pids={"limit": 5}), resources(pids={"limit": 6}))},
    "BlockIo": {
        "weight": (A, resources(blockio={"weight": 50})),
        "leaf_weight": (A, resources(blockio={"leafWeight": 50})),
        "weight_device": (A, weights(weight=50)),
        **{
            name: (A, resources(blockio={key: [{"major": 8, "minor": 0, "rate": 5}]}))
            for name, key in (
                ("throttle_read_bps_device", "throttleReadBpsDevice"),
                ("throttle_write_bps_device", "throttleWriteBpsDevice"),
                ("throttle_read_iops_device", "throttleReadIOPSDevice"),
                ("throttle_write_iops_device", "throttleWriteIOPSDevice"),
            )
        },
    },
    "WeightDevice": {
        "major": (weights(weight=50), weights(weight=50, major=9)),
        "minor": (weights(weight=50), weights(weight=50, minor=9)),
        "weight": (weights(), weights(weight=50)),
        "leaf_weight": (weights(), weights(leafWeight=50)),
    },
    "ThrottleDevice": {
        "major": (throttle(), throttle(major=9)),
        "minor": (throttle(), throttle(minor=9)),
        "rate": (throttle(), throttle(rate=9)),
    },
    "HugepageLimit": {
        "page_size": (
            resources(hugepageLimits=[{"pageSize": "2MB", "limit": 4}]),
            resources(hugepageLimits=[{"pageSize": "1GB", "limit": 4}]),
        ),
        "limit": (
            resources(hugepageLimits=[{"pageSize": "2MB", "limit": 4}]),
            resources(hugepageLimits=[{"pageSize": "2MB", "limit": 8}]),
        ),
    },
    "NetworkResources": {
        "class_id": (A, resources(network={"classID": 5})),
        "priorities": (A, resources(network={"priorities": [{"name": "x", "priority": 1}]})),
    },
    "InterfacePriority": {
        "name": (
            resources(network={"priorities": [{"name": "x", "priority": 1}]}),
            resources(network={"priorities": [{"name": "y", "priority": 1}]}),
        ),
        "priority": (
            resources(network={"priorities": [{"name": "x", "priority": 1}]}),
            resources(network={"priorities": [{"name": "x", "priority": 2}]}),
        ),
    },
    "Runtime": {
        "cgroups": (A, inside(cgroups=["x"])),
        "mounts": (A, inside(mounts=[{"type": "tmpfs", "destination": "/x"}])),
        "mkdir": (A, inside(mkdir=["/data/x"])),
        "interfaces": (
            service(net="new"), {**service(net="new", runtime={"interfaces": [{"name": "x"}]})},
        ),
        "bind_ns": (A, inside(bindNS={"net": "/run/x"})),
        "namespace": (A, inside(namespace="other")),
    },
    "Interface": {
        name: (
            service(net="new", runtime={"interfaces": [{"name": "x", **before}]}),
            service(net="new", runtime={"interfaces": [{"name": "x", **after}]}),
        )
        for name, before, after in (
            ("name", {}, {"name": "y"}),
            ("add", {}, {"add": "veth"}),
            ("peer", {"add": "veth"}, {"add": "veth", "peer": "p"}),
            ("create_in_root", {"add": "wireguard"}, {"add": "wireguard", "createInRoot": True}),
        )
    },
    "BindNamespaces": {
        name: (A, inside(bindNS={name: "/run/x"}))
        for name in ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
    },
    "Restart": {
        "policy": (A, service(restart={"policy": "no"})),
        "backoff": (A, service(restart={"backoff": "2s..9s"})),
    },
    "Health": {
        "http": (A, service(health={"http": "http://localhost/"})),
        "tcp": (health(), health(tcp="localhost:2")),
        "command": (A, service(health={"command": ["/x"]})),
        "every": (health(), health(every=8)),
        "timeout": (health(), health(timeout=4)),
        "retries": (health(), health(retries=9)),
        "start": (health(), health(start=9)),
    },
    "Schedule": {
        "cron": (A, service(schedule={"cron": "0 3 * * *"})),
        "every": (A, service(schedule={"every": "6h"})),
    },
    "Log": {
        "size": (A, service(log={"size": 8192})),
        "count": (A, service(log={"count": 9})),
        "keep": (A, service(log={"keep": "data"})),
    },
    "Logging": {
        "size": (A, {**A, "log": {"size": 8192}}),
        "count": (A, {**A, "log": {"count": 9}}),
        "keep": (A, {**A, "log": {"keep": "data"}}),
        "console": (A, {**A, "log": {"console": True}}),
    },
    "Volume": {
        "name": (volume(), volume(name="w")),
        "image": (volume(), volume(image="two")),
        "readonly": (volume(), volume(readonly=True)),
        "format": (volume(), volume(format="oci")),
        "platforms": (volume(), volume(platforms=["linux/arm64"])),
    },
    "File": {
        "path": (file(), file(path="etc/y")),
        "contents": (file(), file(contents="y")),
        "source": (file(contents=None, source="one.txt"), file(contents=None, source="two.txt")),
        "directory": (file(), file(contents=None, directory=True)),
        "symlink": (file(), file(contents=None, symlink="y")),
        "metadata": (
            file(contents=None, metadata="json"), file(contents=None, metadata="yaml"),
        ),
        "optional": (
            file(contents=None, source="none"), file(contents=None, source="none", optional=True),
        ),
        "mode": (file(), file(mode="0640")),
        "uid": (file(), file(uid=5)),
        "gid": (file(), file(gid=5)),
    },
    "Module": {
        "name": ({"modules": ["a"]}, {"modules": ["b"]}),
        "build": ({}, {"modules": [{"build": "m"}]}),
        "params": (
            {"modules": [{"name": "a"}]}, {"modules": [{"name": "a", "params": {"x": "1"}}]},
        ),
    },
    "Ssh": {
        "authorized_keys": ({}, {"ssh": {"authorized_keys": ["ssh-ed25519 AAAA x"]}}),
        "host_key": ({}, {"ssh": {"host_key": "key"}}),
    },
    "Network": {
        "wifi": ({"network": {"country": "JP"}}, {"network": {"country": "JP", "wifi": {}}}),
        "country": (
            {"network": {"country": "JP", "wifi": {}}}, {"network": {"country": "DE", "wifi": {}}},
        ),
        "ethernet": ({}, wired()),
        "bridge": (
            service(net="bridge"), {**service(net="bridge"), "network": {"bridge": "10.1.0.0/16"}},
        ),
    },
    "Wifi": {
        name: (
            {"network": {"country": "JP", "wifi": {"ssid": "x", **before}}},
            {"network": {"country": "JP", "wifi": {"ssid": "x", **after}}},
        )
        for name, before, after in (
            ("ssid", {}, {"ssid": "y"}),
            ("psk", {}, {"psk": "correct horse"}),
            ("psk_file", {}, {"psk_file": "one.txt"}),
            ("hidden", {}, {"hidden": True}),
        )
    },
    "Ethernet": {
        "interface": (wired(), wired(interface="eth1")),
        "address": (wired(), wired(address="10.0.0.3/24")),
        "gateway": (wired(), wired(gateway="10.0.0.1")),
        "dns": (wired(), wired(dns=["10.0.0.1"])),
    },
    "Boot": {
        "config": ({"board": "pi4"}, {"board": "pi4", "boot": {"config": {"gpu_mem": 64}}}),
        "overlays": ({"board": "pi4"}, {"board": "pi4", "boot": {"overlays": ["i2c1"]}}),
        "cmdline": ({}, {"boot": {"cmdline": "x"}}),
    },
    "Data": {
        "size": ({}, {"data": {"size": "32M"}}),
        "mount": ({}, {"data": {"mount": "/srv"}}),
    },
    "Slots": {
        "size": ({}, {"slots": {"size": "256M"}}),
        "updates": ({}, {"slots": {"updates": True}}),
        "verify": ({}, {"slots": {"verify": "boot"}}),
    },
    "Signing": {
        "key": (signed(), signed("other")),
        "certificates": (signed(), signed("ours", "ours", "other")),
    },
    "Updates": {
        "server": (calling(), calling(server="http://other")),
        "tenant": (calling(), calling(tenant="SHED")),
        "controller": (calling(), calling(controller="pi-1")),
        "ca": (calling(ca="one.txt"), calling(ca="two.txt")),
        "rate": (calling(), calling(rate="20 kB/s")),
        "confirm": (calling(), calling(confirm="person")),
    },
    "BeforeUpdate": {
        "command": (prepared(), prepared(command=["/y"])),
        "timeout": (prepared(), prepared(timeout=5)),
    },
    "TestPlan": {
        "timeout": ({}, {"test": {"timeout": 5}}),
        "checks": (checked(run="x"), checked(run="y")),
    },
    "Check": {
        "name": (checked(run="x"), checked(run="x", name="n")),
        "run": (checked(run="x"), checked(run="y")),
        "service": (checked(run="x"), checked(run="x", service="s")),
        "http": (checked(http="http://a/"), checked(http="http://b/")),
        "console": (checked(console="x"), checked(console="y")),
        "expect": (checked(run="x"), checked(run="x", expect="no")),
        "matches": (checked(run="x"), checked(run="x", matches="no")),
        "exit_code": (checked(run="x"), checked(run="x", exit_code=5)),
        "status": (checked(http="http://a/"), checked(http="http://a/", status=404)),
        "timeout": (checked(run="x"), checked(run="x", timeout=99)),
    },
    "Sensor": {
        "name": (chip(), chip(name="b")),
        "chip": (chip(), chip(chip="bmp280")),
        "bus": (
            {**chip(bus="i2c3"), "kernel": {"image": "one"}},
            {**chip(bus="i2c4"), "kernel": {"image": "one"}},
        ),
        "address": (chip(), chip(address=0x77)),
        "cs": (select(), select(cs=1)),
        "mode": (select(), select(mode=3)),
        "speed": (select(), select(speed=5000)),
        "serial": (wire(), wire(serial="28-000005e2fdc3")),
        "every": (chip(), chip(every="9s")),
        "offset": (chip(), chip(offset={"temperature": -1.5})),
        "settings": (chip(), chip(settings={"in_temp_oversampling_ratio": 16})),
    },
    "GpioLine": {
        "name": (line(), line(name="b")),
        "kind": (line(), line(kind="counter")),
        "line": (line(), line(line=18)),
        "chip": (line(), line(chip="mcp23017")),
        "active": (line(), line(active="low")),
        "pull": (line(), line(pull="up")),
        "debounce": (line(), line(debounce="20ms")),
        "at_boot": (relay(), relay(at_boot="on")),
        "on_failure": (relay(), relay(on_failure="keep")),
        "at_shutdown": (relay(), relay(at_shutdown="on")),
        "every": (line(), line(every="9s")),
    },
    "Disk": {
        "name": (stick(), stick(name="b")),
        "label": (stick(), stick(label="B")),
        "readonly": (stick(), stick(readonly=True)),
    },
    "Trust": {},
}  # fmt: skip


YAML: Mapping[str, Mapping[str, Change]] = {
    "Appliance": APPLIANCE, "Kernel": KERNEL, "Entry": {**CONFIG, **ENTRY}, **NESTED,
}  # fmt: skip


GRANTS = "images with labels: tests/unit/locking/test_grants.py"


VALUES = "the service sensors, which is Python: tests/unit/testing/test_sensors.py"


ELSEWHERE: Mapping[tuple[str, str], str] = {
    ("Appliance", "trust"): GRANTS,
    ("Trust", "image"): GRANTS,
    ("Trust", "org"): GRANTS,
    ("Kernel", "ucode"): "LinuxKit's; ARM has no microcode",
    ("Entry", "trust"): GRANTS,
    ("Check", "sensor"): VALUES,
    ("Check", "within"): VALUES,
    ("Entry", "context"): "what a folder may read: tests/unit/test_boundary.py",
    ("Entry", "system"): "other systems: tests/unit/deploy/test_workloads.py",
}
"""The keys whose work is elsewhere, or that are documented to do nothing."""
