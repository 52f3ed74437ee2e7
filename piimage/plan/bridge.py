"""The containers on the bridge: their addresses and names, and the rules of the packet filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from piimage.compose.containers import ContainerPlan
from piimage.config.container import ContainerConfig
from piimage.config.models import Appliance
from piimage.container.bridge import (
    HOSTS,
    MODULES,
    RESOLV,
    Attachment,
    attachments,
    files,
    forwards,
    is_bridged,
)
from piimage.container.bridge_faults import bridge_faults, bridge_range
from piimage.container.merged import Placed
from piimage.errors import InputError, raise_all
from piimage.locking.requests import wants_bridge

_BINDS = {
    "/etc/hosts": f"{HOSTS}:/etc/hosts:ro,bind",
    "/etc/resolv.conf": f"{RESOLV}:/etc/resolv.conf:ro,bind",
}
NAME_BINDS = tuple(_BINDS.values())
"""What containers on the bridge have mounted in addition."""


def with_names(config: ContainerConfig) -> ContainerConfig:
    """Return `config` with the names on the bridge, and the Pi's name servers, in its /etc.

    A container that mounts its own of these, or its own /etc, keeps that.
    """
    if not is_bridged(config):
        return config
    taken = {bind.split(":")[1] for bind in config.binds or () if ":" in bind}
    taken |= {mount.destination or "" for mount in config.mounts or ()}
    taken = {path.rstrip("/") or "/" for path in taken}
    if taken & {"/etc", "/"}:
        return config
    names = [bind for path, bind in _BINDS.items() if path not in taken]
    return config.model_copy(update={"binds": (*(config.binds or ()), *names)})


def bridged(
    plans: Sequence[ContainerPlan], appliance: Appliance
) -> tuple[tuple[ContainerPlan, ...], Mapping[str, bytes]]:
    """Return `plans` with their addresses on the bridge, and the files that the Pi needs for it.

    Raises InputError ``oci.ports`` for what labels of images add to the faults of the file itself.
    """
    uses = _uses(appliance)
    places = [
        Placed(plan.kind, number, plan.name, plan.config, uses.get(plan.place))
        for number, plan in enumerate(plans)
    ]
    errors = [fault.error(plans[each.number].place)
              for each, fault in bridge_faults(places, appliance)]  # fmt: skip
    if not wants_bridge(appliance):
        errors += map(_unplanned, (plan for plan in plans if is_bridged(plan.config)))
    raise_all(errors)
    network = bridge_range(appliance)
    configs = {plan.name: plan.config for plan in plans if plan.kind == "services"}
    found = attachments(configs, network)
    made = files(found.values(), network, routes=forwards(appliance.sysctl))
    return tuple(_attached(plan, found, appliance) for plan in plans), made


def _attached(
    plan: ContainerPlan, found: Mapping[str, Attachment], appliance: Appliance
) -> ContainerPlan:
    if not is_bridged(plan.config):
        return plan
    return replace(plan, address=str(found[plan.name].interface(bridge_range(appliance))))


def _uses(appliance: Appliance) -> Mapping[str, str | None]:
    """Return the ready-made folder of each service by its place."""
    return {f"services.{entry.name}": entry.use for entry in appliance.services}


def _unplanned(plan: ContainerPlan) -> InputError:
    return InputError(
        "oci.ports",
        f"the image's label asks for net: {plan.config.net}, and the file does not",
        place=plan.place,
        hint=f"write net: {plan.config.net} in the entry: the system needs more for it",
    )


def bridge_modules(appliance: Appliance) -> tuple[str, ...]:
    """Return the kernel modules that the bridge needs, if the file has containers on it."""
    return MODULES if wants_bridge(appliance) else ()
