from __future__ import annotations

import json

import pytest

from piimage.compose.containers import ContainerPlan
from piimage.config.container import LABEL, ContainerConfig, merge, secure_defaults
from piimage.events import ignore
from piimage.formats.images import image
from piimage.oci.layout import Layout
from piimage.oci.models import Execution
from piimage.run import Runner
from piimage.steps import Builder
from piimage.store import Store


@pytest.mark.parametrize(
    ("said", "carried"),
    [("/home/me/own.json", "default"), ("unconfined", "unconfined"), ("default", "default")],
)
def test_a_label_names_no_file_of_this_machine(store: Store, said: str, carried: str) -> None:
    config = merge(secure_defaults(), ContainerConfig.model_validate({"seccomp": said}))
    plan = ContainerPlan("web", "services", "web", config, Execution(), (), "services.web", b"{}")
    made = image(plan, Layout(store), Builder(store, Runner(), ignore).build())
    assert json.loads((made.config.execution.labels or {})[LABEL])["seccomp"] == carried
