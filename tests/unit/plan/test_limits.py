from __future__ import annotations

from typing import Any

import pytest

from piimage.config.models import Appliance
from piimage.errors import PiimageError
from piimage.plan.limits import refuse_unsupported


@pytest.mark.provokes("plan.unsupported")
@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"volumes": [{"name": "v", "image": "x", "format": "oci"}]}, "volumes.v"),
        ({"init": ["@pkg:/x"]}, "init"),
    ],
)
def test_what_cannot_be_done_is_refused_and_named(said: dict[str, Any], named: str) -> None:
    with pytest.raises(PiimageError, match="this version cannot do") as caught:
        refuse_unsupported(Appliance.model_validate(said))
    assert caught.value.place == named


def test_an_ordinary_file_is_not_refused() -> None:
    refuse_unsupported(
        Appliance.model_validate({"services": [{"name": "hello", "use": "hello_world"}]})
    )
