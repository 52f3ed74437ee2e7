"""An image's label counts beyond the defaults only where the file agrees and the lock says so."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from piimage.compose.containers import ContainersLayer
from piimage.config.container import LABEL
from piimage.config.models import Appliance
from piimage.errors import ErrorGroup, InputError
from piimage.lock import Lock, LockedImage
from piimage.locking.grants import (
    is_trusted,
    label_request,
    record_grants,
    refuse_ungranted,
    require_granted,
)
from piimage.oci.layout import Image, Layout
from piimage.oci.models import Execution, ImageConfig, RootFileSystem
from piimage.oci.pack import pack_layer
from piimage.plan.containers import plan_containers
from piimage.store import Store
from piimage.trees import file as file_entry

NAME = "registry.example.org:5000/team/tool:v1"
OLD, NEW, OTHER = (f"sha256:{digit * 64}" for digit in "abc")
ROOT = {"capabilities": ["all"], "pid": "host"}
REQUESTED = ("capabilities: all", "pid: host")
LINE = "trust: ['capabilities: all', 'pid: host']"


def pin(digest: str = OLD, *granted: str, name: str = NAME) -> LockedImage:
    return LockedImage(name, digest, OTHER, granted)


def appliance(section: Mapping[str, Any] | None = None, /, **entry: Any) -> Appliance:
    return Appliance.model_validate(
        {"services": [{"name": "tool", "image": NAME, **entry}], "trust": section}
    )


def execution(label: Mapping[str, object] | str) -> Execution:
    text = label if isinstance(label, str) else json.dumps(label)
    return Execution(cmd=("/x",), labels={LABEL: text})


def record(
    file: Appliance, label: Mapping[str, object], now: LockedImage, old: LockedImage | None = None
) -> Sequence[str]:
    before = {old.reference: old} if old else {}
    (recorded,) = record_grants(file, [now], before, lambda _: execution(label))
    assert recorded.digest == now.digest
    return recorded.granted


def refusal(call: Any, *words: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        call(*words)
    return caught.value


@pytest.mark.provokes("images.not-granted")
def test_nothing_is_granted_by_an_entry_that_names_an_image_and_nothing_else() -> None:
    error = refusal(record, appliance(), ROOT, pin())
    assert error.code == "images.not-granted"
    assert error.place == "services.tool"
    assert error.message.splitlines() == [
        f"the label of {NAME} asks for more than the defaults:",
        "    capabilities: all",
        "    pid: host",
    ]
    assert error.hint == f"to grant it, write in this entry: {LINE}"


def test_the_line_of_the_message_grants_all_of_it() -> None:
    label = {**ROOT, "binds": ["/it's:/b"], "devices": [{"path": "all", "type": "c"}]}
    error = refusal(record, appliance(), label, pin())
    line = (error.hint or "").partition("entry: ")[2]
    granted = record(appliance(**yaml.safe_load(line)), label, pin())
    assert granted == (
        "binds: /it's:/b", "capabilities: all", 'devices: {"path": "all", "type": "c"}',
        "pid: host",
    )  # fmt: skip


def test_a_part_that_was_not_named_is_still_refused() -> None:
    error = refusal(record, appliance(trust=["pid: host"]), ROOT, pin())
    assert error.message.splitlines()[1:] == ["    capabilities: all"]
    assert (error.hint or "").endswith("trust: ['pid: host', 'capabilities: all']")


def test_an_entry_that_says_otherwise_needs_no_consent() -> None:
    assert record(appliance(capabilities=["none"], pid="new"), ROOT, pin()) == ()


@pytest.mark.parametrize(
    ("trust", "trusted"),
    [
        ({"image": ["registry.example.org:5000/team/tool:v1"]}, True),
        ({"image": ["registry.example.org:5000/team/tool"]}, True),
        ({"image": [f"registry.example.org:5000/team/tool@{OLD}"]}, True),
        ({"image": [f"registry.example.org:5000/team/tool@{OTHER}"]}, True),
        ({"image": [f"registry.example.org:5000/team/tool@{NEW}"]}, False),
        ({"image": ["registry.example.org:5000/team/tool:v2"]}, False),
        ({"image": ["registry.example.org:5000/team/too"]}, False),
        ({"image": ["team/tool:v1"]}, False),
        ({"image": ["registry.example.org/team/tool:v1"]}, False),
        ({"org": ["registry.example.org:5000/team"]}, True),
        ({"org": ["registry.example.org:5000/team/"]}, True),
        ({"org": ["team"]}, False),
        ({"org": ["registry.example.org:5000"]}, False),
        ({"org": ["registry.example.org:5000/tea"]}, False),
        ({"org": [""]}, False),
        ({}, False),
        (None, False),
    ],
)
def test_the_section_trust_names_an_image_or_its_owner(
    trust: Mapping[str, Any] | None, trusted: bool
) -> None:
    assert is_trusted(appliance(trust).trust, pin()) is trusted


@pytest.mark.parametrize(
    ("name", "organisation"), [("linuxkit/getty:v1", "linuxkit"), ("busybox:1.36", "library")]
)
def test_without_a_registry_the_default_one_s_organisation_is_meant(
    name: str, organisation: str
) -> None:
    assert is_trusted(appliance({"org": [organisation]}).trust, pin(name=name))
    elsewhere = pin(name=f"localhost:5000/{name}")
    assert not is_trusted(appliance({"org": [organisation]}).trust, elsewhere)


def test_what_the_section_grants_is_recorded() -> None:
    assert record(appliance({"image": [NAME]}), ROOT, pin()) == REQUESTED


def test_an_update_that_asks_for_more_is_refused_although_its_maker_is_trusted() -> None:
    trusting = appliance({"org": ["registry.example.org:5000/team"]})
    before = pin(OLD, "pid: host")
    error = refusal(record, trusting, ROOT, pin(NEW), before)
    assert error.message.splitlines() == [
        f"the label of {NAME} asks for more than the lock says that it was granted before:",
        "    capabilities: all",
    ]
    assert error.hint == "to grant it, write in this entry: trust: ['capabilities: all']"
    more = appliance({"org": ["registry.example.org:5000/team"]}, trust=["capabilities: all"])
    assert record(more, ROOT, pin(NEW), before) == REQUESTED
    exact = f"registry.example.org:5000/team/tool@{NEW}"
    assert record(appliance({"image": [exact]}), ROOT, pin(NEW), before) == REQUESTED


def test_a_dockerfile_s_trusted_base_that_asks_for_more_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {NAME}\n")
    named = {"services": [{"name": "a", "build": str(tmp_path)}], "trust": {"image": [NAME]}}
    made = Appliance.model_validate(named)
    assert record(made, {"pid": "host"}, pin(OLD)) == ("pid: host",)
    error = refusal(record, made, ROOT, pin(NEW), pin(OLD, "pid: host"))
    assert "    capabilities: all" in error.message.splitlines()
    assert record(Appliance.model_validate({**named, "trust": None}), ROOT, pin(NEW)) == ()


def test_an_update_that_asks_for_less_loses_what_it_had() -> None:
    trusting = appliance({"image": [NAME]})
    before = pin(OLD, *REQUESTED)
    assert record(trusting, {"pid": "host"}, pin(NEW), before) == ("pid: host",)


def test_the_same_image_may_be_trusted_later() -> None:
    assert record(appliance({"image": [NAME]}), ROOT, pin(OLD), pin(OLD)) == REQUESTED


def test_an_image_that_is_not_at_hand_keeps_what_was_recorded() -> None:
    kept = pin(OLD, "pid: host")
    assert record_grants(appliance(), [kept], {NAME: kept}, lambda _: None) == (kept,)
    refuse_ungranted(appliance(), [kept], lambda _: None, {})


def test_an_image_without_a_label_and_one_for_no_container_are_granted_nothing() -> None:
    other = pin(OLD, name="r/kernel:1")
    pins = record_grants(appliance(), [pin(), other], {}, lambda _: Execution())
    assert [image.granted for image in pins] == [(), ()]
    (recorded,) = record_grants(appliance(), [other], {}, lambda _: execution(ROOT))
    assert recorded.granted == ()


def test_the_refusals_of_all_entries_come_together() -> None:
    entries = [{"name": name, "image": NAME} for name in ("a", "b")]
    made = Appliance.model_validate({"services": entries, "onboot": entries[:1]})
    with pytest.raises(ErrorGroup) as caught:
        record_grants(made, [pin()], {}, lambda _: execution(ROOT))
    with pytest.raises(ErrorGroup) as checked:
        refuse_ungranted(made, [pin()], lambda _: execution(ROOT), {"onboot.a": "pi4.yml:3:9"})
    places = [error.place for error in checked.value.errors]
    assert places == ["pi4.yml:3:9", "services.a", "services.b"]
    assert [error.place for error in caught.value.errors] == ["onboot.a", *places[1:]]


def image(store: Store, label: Mapping[str, object]) -> Image:
    packed = pack_layer(store, [file_entry("bin/x", b"x", 0o755)])
    config = ImageConfig(
        os="linux", architecture="arm64", config=execution(label),
        rootfs=RootFileSystem(diff_ids=(packed.diff_id,)),
    )  # fmt: skip
    return Layout(store).write_image(config, [packed.descriptor])


def planned(store: Store, appliance: Appliance, *granted: str) -> dict[str, Any]:
    lock = Lock(images=(pin(OLD, *granted),))
    (plan,) = plan_containers(appliance, lock, {NAME: image(store, ROOT)}).containers
    return plan.config.model_dump(mode="json", by_alias=True, exclude_none=True)


def test_a_build_refuses_what_nobody_agreed_to(store: Store) -> None:
    error = refusal(planned, store, appliance())
    assert (error.code, error.place) == ("images.not-granted", "services.tool")
    # The lock alone is no consent: the file may have taken it back.
    assert refusal(planned, store, appliance(), *REQUESTED).code == "images.not-granted"


@pytest.mark.provokes("lock.outgrown")
def test_a_build_refuses_what_the_lock_has_not_recorded(store: Store) -> None:
    error = refusal(planned, store, appliance({"image": [NAME]}), "pid: host")
    assert error.code == "lock.outgrown"
    assert error.message.splitlines()[1:] == ["    capabilities: all"]
    assert (error.hint or "").startswith("run piimage lock")


def test_a_build_gives_what_was_granted(store: Store) -> None:
    by_section = planned(store, appliance({"image": [NAME]}), *REQUESTED)
    assert (by_section["capabilities"], by_section["pid"]) == (["all"], "host")
    assert planned(store, appliance(trust=list(REQUESTED))) == by_section


TWIN = "registry.example.org:5000/stranger/twin:v1"


def built(
    store: Store,
    folder: Path,
    labels: Mapping[str, Mapping[str, object]],
    text: str,
    **sections: Any,
) -> ContainersLayer:
    """Plan a service that the Dockerfile `text` gave the label ROOT; `labels` are its bases'."""
    (folder / "Dockerfile").write_text(text)
    made = Appliance.model_validate(
        {"services": [{"name": "web", "build": str(folder)}, *sections.pop("more", [])], **sections}
    )
    return plan_containers(
        made,
        Lock(images=tuple(pin(OLD, *REQUESTED, name=name) for name in labels)),
        {**{name: image(store, label) for name, label in labels.items()},
         str(folder): image(store, ROOT)},
    )  # fmt: skip


def test_a_label_that_a_dockerfile_s_base_has_is_that_image_s_word(
    store: Store, tmp_path: Path
) -> None:
    text = f"FROM {NAME}\n"
    error = refusal(built, store, tmp_path, {NAME: ROOT}, text)
    assert (error.code, error.place) == ("images.not-granted", "services.web")
    assert built(store, tmp_path, {NAME: ROOT}, text, trust={"image": [NAME]})


def test_a_dockerfile_s_own_label_is_the_folder_s_word(store: Store, tmp_path: Path) -> None:
    text = f"FROM {NAME}\nLABEL {LABEL}='{json.dumps(ROOT)}'\n"
    assert built(store, tmp_path, {NAME: {"pid": "host"}}, text)


def test_a_base_that_has_the_label_of_a_trusted_image_is_not_trusted_for_it(
    store: Store, tmp_path: Path
) -> None:
    """Whoever makes a base can copy the label of an image that the file trusts."""
    more = [{"name": "tool", "image": NAME}]
    error = refusal(
        lambda: built(
            store, tmp_path, {NAME: ROOT, TWIN: ROOT}, f"FROM {TWIN}\n",
            trust={"image": [NAME]}, more=more,
        )
    )  # fmt: skip
    assert (error.code, error.place) == ("images.not-granted", "services.web")


def test_a_label_that_neither_dockerfile_nor_base_has_is_the_base_s_word(
    store: Store, tmp_path: Path
) -> None:
    """A base's ONBUILD LABEL is carried out by whoever builds on it."""
    bases, text = {NAME: {"pid": "new"}}, f"FROM {NAME}\n"
    assert refusal(built, store, tmp_path, bases, text).code == "images.not-granted"
    assert built(store, tmp_path, bases, text, trust={"image": [NAME]})


def test_a_label_that_cannot_be_read_is_refused_by_image() -> None:
    with pytest.raises(InputError) as caught:
        record_grants(appliance(), [pin()], {}, lambda _: execution('{"pid": "mine"}'))
    assert NAME in str(caught.value)


@pytest.mark.provokes("lock.outgrown", "images.not-granted")
def test_what_the_lock_does_not_record_is_refused_although_the_file_agrees() -> None:
    file = appliance({"image": ["registry.example.org:5000/team/tool"]})
    request = label_request(file.services[0], "pi.yml:3", execution(ROOT), NAME)
    require_granted(request, file.trust, pin(OLD, *REQUESTED))
    error = refusal(require_granted, request, file.trust, pin(OLD, REQUESTED[0]))
    assert (error.code, error.place) == ("lock.outgrown", "pi.yml:3")
    assert error.message.splitlines() == [
        f"the lock does not record what {NAME} was granted:", f"    {REQUESTED[1]}",
    ]  # fmt: skip
    assert refusal(require_granted, request, None, pin(OLD, *REQUESTED)).code == (
        "images.not-granted"
    )
    assert refusal(require_granted, request, file.trust, None).code == "images.not-granted"
