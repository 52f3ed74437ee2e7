"""Containers with a range of user ids of their own (`userns: auto`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from piimage.compose.containers import ContainerPlan
from piimage.config.models import Appliance
from piimage.container.ids import has_range, range_faults
from piimage.container.merged import Placed
from piimage.errors import InputError
from piimage.locking.requests import wants_idmap


def range_errors(plans: Sequence[ContainerPlan], appliance: Appliance) -> Iterator[InputError]:
    """Yield InputError ``oci.userns`` for ranges that two containers share, or only a label has."""
    places = [
        Placed(plan.kind, number, plan.name, plan.config) for number, plan in enumerate(plans)
    ]
    for each, fault in range_faults(places):
        yield fault.error(plans[each.number].place)
    for plan in plans:
        if has_range(plan.config, plan.name) and not wants_idmap(appliance):
            yield InputError(
                "oci.userns",
                "the image's label asks for userns: auto, and the file does not",
                place=plan.place,
                hint="write userns: auto in the entry: the system needs more for it",
            )
