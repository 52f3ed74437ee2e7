"""Files with one section or entry, whose fields a test chooses."""

from __future__ import annotations

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
