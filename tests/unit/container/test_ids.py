"""The ranges of user ids of `userns: auto`."""

from __future__ import annotations

from typing import Any

import pytest

from piimage.config.container import ContainerConfig
from piimage.container.ids import first_id, has_range, range_faults, with_range
from piimage.container.merged import Placed


def config(**fields: Any) -> ContainerConfig:
    return ContainerConfig.model_validate(fields)


def twins() -> tuple[str, str]:
    """Two names that lead to the same range."""
    seen: dict[int, str] = {}
    for number in range(100_000):
        other = seen.setdefault(first_id(f"c{number}"), f"c{number}")
        if other != f"c{number}":
            return other, f"c{number}"
    raise AssertionError


def test_the_range_of_a_name_is_its_own_and_never_changes() -> None:
    # Files on the cards of users have these owners.
    assert [first_id(name) for name in ("web", "db")] == [1433468928, 722731008]
    for name in ("a", "b", "c"):
        first = first_id(name)
        assert first % 65536 == 0
        assert 0x80000 <= first <= 0x6FFF0000


def test_auto_maps_all_ids_of_the_container() -> None:
    mapped = with_range(config(userns="auto"), "web")
    assert mapped.userns == "new"
    (whole,) = mapped.uid_mappings or ()
    assert mapped.gid_mappings == (whole,)
    assert (whole.host_id, whole.container_id, whole.size) == (first_id("web"), 0, 65536)
    assert has_range(mapped, "web")
    assert not has_range(mapped, "db")


@pytest.mark.parametrize("fields", [{}, {"userns": "host"}, {"userns": "new"}])
def test_other_namespaces_stay_as_they_are(fields: dict[str, Any]) -> None:
    assert with_range(config(**fields), "web") == config(**fields)


def test_two_containers_do_not_share_a_range() -> None:
    first, second = twins()
    places = [
        Placed("services", number, name, config(userns=userns))
        for number, (name, userns) in enumerate(
            [(first, "auto"), ("free", "auto"), (second, "host"), (second, "auto")]
        )
    ]
    ((place, fault),) = range_faults(places)
    assert place is places[3]
    assert (fault.code, fault.keys) == ("oci.userns", ("userns",))
    assert fault.message == f"{second} would have the same user ids as {first}"
    # One that prepares the data of a service has the service's name, and its ids.
    assert not list(range_faults([places[0], places[0]]))
