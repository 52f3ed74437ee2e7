from __future__ import annotations

import pytest

from piimage.config.models import Appliance
from piimage.errors import PiimageError
from piimage.lock import Lock, LockedImage
from piimage.locking.images import Images, references_of
from piimage.oci.layout import Layout
from piimage.oci.registry import Registry
from piimage.run import Runner
from piimage.store import Store

PIN = LockedImage("redis:7", "sha256:" + "1" * 64, "sha256:" + "2" * 64)


@pytest.fixture
def offline(store: Store) -> Images:
    return Images(Registry(Layout(store), Runner()), offline=True)


def test_every_image_that_the_file_names_is_listed_once() -> None:
    appliance = Appliance.model_validate(
        {
            "kernel": {"image": "k:1"},
            "init": ["i:1", "@pkg:/x"],
            "onboot": [{"name": "a", "image": "c:1"}],
            "services": [{"name": "b", "image": "c:1"}, {"name": "d", "use": "hello_world"}],
        }
    )
    assert references_of(appliance) == ("k:1", "i:1", "c:1")


def test_pins_stay_without_access_to_a_registry(offline: Images) -> None:
    assert offline.lock(["redis:7"], Lock(images=(PIN,)), ()) == (PIN,)


def test_pins_of_images_that_are_no_longer_requested_are_dropped(offline: Images) -> None:
    assert offline.lock([], Lock(images=(PIN,)), ()) == ()


@pytest.mark.provokes("images.not-locked")
@pytest.mark.parametrize("moving", [("redis:7",), ("*",)])
def test_a_pin_cannot_move_offline(offline: Images, moving: tuple[str, ...]) -> None:
    with pytest.raises(PiimageError, match="redis:7: the lock does not pin it"):
        offline.lock(["redis:7"], Lock(images=(PIN,)), moving)


@pytest.mark.provokes("images.not-stored")
def test_an_image_must_be_in_the_store_offline(offline: Images) -> None:
    with pytest.raises(PiimageError, match="redis:7: the image is incomplete in the store"):
        offline.have([PIN])
