"""Converts the rights of a Compose service, its namespaces and its network.

Source: the Compose specification, "Services top-level elements"; Docker's defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from piimage.composefile.service import Converter, Service, ignored, simple
from piimage.composefile.values import (
    as_written,
    capability_names,
    parts,
    texts,
    truth,
)

DOCKER_CAPABILITIES: Final = tuple(
    f"CAP_{name}"
    for name in ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
                 "NET_BIND_SERVICE", "NET_RAW", "SYS_CHROOT", "MKNOD", "AUDIT_WRITE", "SETFCAP")
)  # fmt: skip
"""Docker's default capabilities (its documentation, "Runtime privilege")."""


def _cap_add(value: Any, service: Service) -> None:  # noqa: ANN401
    names = capability_names(value)
    service.entry["capabilities"] = ["all"] if "all" in names else names


def _cap_drop(value: Any, service: Service) -> None:  # noqa: ANN401
    del value
    service.note("cap_drop: remove it; a container has only the capabilities that it lists")


def _privileged(value: Any, service: Service) -> None:  # noqa: ANN401
    if not truth(value):
        return
    service.entry |= {"capabilities": ["all"], "seccomp": "unconfined", "noNewPrivileges": False}
    service.entry["devices"] = [{"path": "all", "type": "a", "mode": "rwm"}]
    service.add("binds", "/dev:/dev")


# Another name is that of a profile which the engine's machine has loaded.
_APPARMOR: Final = {"unconfined": "unconfined", "docker-default": "default"}


def _security_opt(value: Any, service: Service) -> None:  # noqa: ANN401
    for option in texts(value):
        name, _, rest = option.replace("=", ":").partition(":")
        if name == "no-new-privileges":
            service.entry["noNewPrivileges"] = rest != "false"
        elif name == "seccomp":
            service.entry["seccomp"] = rest
        elif name == "apparmor" and rest in _APPARMOR:
            service.entry["apparmor"] = _APPARMOR[rest]
        else:
            service.note(f"security_opt: {option}: piimage has no equivalent")


def _namespace(key: str) -> Converter:
    def converted(value: Any, service: Service) -> None:  # noqa: ANN401
        if value in ("private", ""):
            service.entry[key] = "new"
        elif value in ("host", "shareable"):
            service.entry[key] = "host"
        else:
            service.note(f"{key}: {value}: services cannot share a namespace of another service")

    return converted


def _network_mode(value: Any, service: Service) -> None:  # noqa: ANN401
    if value == "none":
        service.entry["net"] = "none"
    elif value == "host":
        service.entry["net"] = "host"
    else:
        service.note(f"network_mode: {value}: a service uses the host's network or none")


def _ports(value: Any, service: Service) -> None:  # noqa: ANN401
    for port in value:
        if isinstance(port, Mapping):
            address = as_written(port.get("host_ip", ""))
            outer, inner = as_written(port.get("published", "")), as_written(port["target"])
        else:
            *rest, inner = parts(as_written(port).rpartition("/")[0] or port)
            outer = rest.pop() if rest else ""
            address = ":".join(rest)
        if outer != inner:
            instead = f", not at {outer}" if outer else ""
            service.note(
                f"ports: a service uses the host's network and answers at its port {inner}{instead}"
            )
        elif service.folder is None:
            service.note(
                f"ports: remove it; a service uses the host's network and its port {inner}"
            )
        if address.strip("[]") in ("127.0.0.1", "::1"):
            service.note(f"ports: {inner} is open to the whole network, not only to {address}")


def _networks(value: Any, service: Service) -> None:  # noqa: ANN401
    for name, options in value.items() if isinstance(value, Mapping) else ():
        for alias in (options or {}).get("aliases", ()):
            service.hosts[as_written(alias)] = "127.0.0.1"
        if options and {"ipv4_address", "ipv6_address"} & set(options):
            service.note(f"networks: {name}: a service has the host's address")
    if service.folder is None:
        service.note("networks: remove it; all services use the host's network")


CONVERTERS: Final[Mapping[str, Converter]] = {
    "cap_add": _cap_add,
    "cap_drop": _cap_drop,
    "expose": ignored,
    "cgroup": _namespace("cgroupns"),
    "ipc": _namespace("ipc"),
    "network_mode": _network_mode,
    "networks": _networks,
    "pid": _namespace("pid"),
    "ports": _ports,
    "privileged": _privileged,
    "read_only": simple("readonly", truth),
    "security_opt": _security_opt,
    "user": simple("user", as_written),
    "userns_mode": _namespace("userns"),
}
"""The converters by key."""
