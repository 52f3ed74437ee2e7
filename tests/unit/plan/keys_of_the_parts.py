"""The keys of the parts of sections and entries, each with two files that differ in it."""

from __future__ import annotations

from collections.abc import Mapping

from .file_makers import (
    A,
    Change,
    calling,
    checked,
    chip,
    device,
    file,
    health,
    inside,
    line,
    mapped,
    mount,
    prepared,
    relay,
    resources,
    rule,
    select,
    service,
    signed,
    stick,
    throttle,
    volume,
    weights,
    wire,
    wired,
)

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
        "rate": (chip(), chip(rate=50)),
        "filter": (chip(), chip(filter={"median": 5})),
        "oversampling": (chip(), chip(oversampling=16)),
        "settings": (chip(), chip(settings={"in_temp_oversampling_ratio": 16})),
    },
    "Smoothing": {
        "median": (chip(filter={"median": 5}), chip(filter={"median": 7})),
        "mean": (chip(filter={"mean": 5}), chip(filter={"mean": 7})),
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
