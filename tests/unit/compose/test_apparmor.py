"""Compiled AppArmor profiles: the shipped ones, and those of the user's."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import compile_profiles
import pytest

from piimage.compose.apparmor import CompiledProfile, Profile, features, shipped
from piimage.compose.containers import ContainerPlan, ContainersLayer
from piimage.config.container import ContainerConfig, merge, secure_defaults
from piimage.container.apparmor import DEFAULT, DEFAULT_SYS, DOCKER
from piimage.errors import InputError
from piimage.events import ignore
from piimage.oci.models import Execution
from piimage.run import Runner
from piimage.steps import Builder, Job
from piimage.store import Store

TEXT = "profile own {\n  file,\n  deny /proc/kcore rw,\n}\n"


def compiled(store: Store, text: str, features: bytes) -> bytes:
    step = CompiledProfile(text, features, "services.web")
    return Profile("own", step).data(Builder(store, Runner()).build(step))


def test_the_shipped_profiles_are_what_their_source_compiles_to() -> None:
    made = compile_profiles.compiled()
    assert set(made) == {DEFAULT, DEFAULT_SYS, DOCKER}
    for name, data in made.items():
        assert name.encode() in data
        if compile_profiles.parser_version() == compile_profiles.VERSION:
            assert shipped(name).policy == data, "run scripts/compile_profiles.py"


def test_a_profile_is_compiled_for_the_features_that_are_given_and_for_no_host(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = compiled(store, TEXT, features())
    assert b"own\0" in first
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    again = CompiledProfile(TEXT, features(), "services.web")
    job = Job(store, Runner(), ignore, {})
    assert job.store.path(again.make(job)["profile"]).read_bytes() == first
    fewer = features().replace(b"signal {mask", b"gone {mask")
    assert compiled(store, TEXT, fewer) != first


@pytest.mark.provokes("oci.apparmor")
def test_the_parser_s_message_has_the_line_and_the_place(store: Store) -> None:
    with pytest.raises(InputError, match="refuses the AppArmor profile: at line 2: ") as caught:
        compiled(store, "profile own {\n  file stairs,\n}\n", features())
    assert (caught.value.code, caught.value.place) == ("oci.apparmor", "services.web")


def plan(name: str, profile: Profile | None) -> ContainerPlan:
    config = merge(secure_defaults(), ContainerConfig())
    image = Execution(cmd=("/x",))
    return ContainerPlan(
        name, "services", name, config, image, (), f"services.{name}", apparmor=profile
    )


def tree(store: Store, *plans: ContainerPlan) -> dict[str, bytes]:
    layer = ContainersLayer(plans, {})
    job = Builder(store, Runner()).build(*layer.needs())
    return {
        entry.path: b"".join(entry.content()) for entry in layer.tree(job) if entry.path.count("/")
    }


def test_the_containers_layer_has_each_profile_once_and_each_container_names_its_own(
    store: Store,
) -> None:
    own = Profile("piimage-own-1", CompiledProfile(TEXT, features(), "services.c"))
    default = shipped(DEFAULT)
    plans = (plan("a", default), plan("b", default), plan("c", own), plan("d", None))
    found = tree(store, *plans)
    profiles = [path for path in found if path.startswith("apparmor/")]
    assert profiles == ["apparmor/piimage-default", "apparmor/piimage-own-1"]
    assert found["apparmor/piimage-default"] == default.policy

    def process(name: str) -> dict[str, Any]:
        spec: dict[str, Any] = json.loads(found[f"services/{name}/config.json"])
        return dict(spec["process"])

    names = [process(name).get("apparmorProfile") for name in "abcd"]
    assert names == [DEFAULT, DEFAULT, "piimage-own-1", None]


def test_what_a_container_gives_to_others_is_loaded_and_does_not_confine_it(store: Store) -> None:
    whale = replace(plan("docker", None), inner=(shipped(DOCKER),))
    found = tree(store, plan("a", shipped(DEFAULT)), whale)
    profiles = [path for path in found if path.startswith("apparmor/")]
    assert profiles == ["apparmor/docker-default", "apparmor/piimage-default"]
    assert "apparmorProfile" not in json.loads(found["services/docker/config.json"])["process"]


def test_without_profiles_there_is_no_folder_of_them(store: Store) -> None:
    assert not [path for path in tree(store, plan("a", None)) if "apparmor" in path]
