"""What `updates:` puts on a card, and what a bundle of a version has in common with its card."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import replace

import pytest

from piimage import swu
from piimage.compose.layers import ModulesLayer
from piimage.config.models import Appliance
from piimage.container.rootfs import LayerNotes
from piimage.deploy.bundle import make_bundle, source_of
from piimage.events import ignore
from piimage.locking.inputs import Inputs
from piimage.locking.requests import wants_agent
from piimage.plan.slot import Version, signer_of, slot_files
from piimage.run import Runner
from piimage.steps import Job
from piimage.store import Blob, Store
from tests.unit.plan.test_slot import made, planned
from tests.unit.signing_keys import Pair, pair


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return pair(tmp_path_factory.mktemp("keys"), "ours")


def noted(job: Job) -> Job:
    """The job in which every layer has notes of its files, too."""
    notes = job.store.add_bytes(LayerNotes(files=frozenset({"bin/busybox"})).encode())
    outputs = {key: {**found, "notes": notes} for key, found in job.made.items()}
    return replace(job, made=outputs)


def version(keys: Pair, board: str = "qemu-virt", **updates: object) -> Version:
    return planned(
        board, signing={"key": str(keys.key), "certificates": [str(keys.certificate)]},
        updates={"server": "http://shed.lan:60053", **updates}, slots={"size": "64M"},
    )  # fmt: skip


def test_the_card_has_the_address_the_caller_and_the_certificate(keys: Pair) -> None:
    layers = version(keys, tenant="SHED", ca=str(keys.certificate)).system.layers
    rules = [layer.rules for layer in layers if not isinstance(layer, ModulesLayer)]
    files = {file.path: file.content for rule in rules for file in rule.files}
    settings = "SERVER='http://shed.lan:60053'\nTENANT='SHED'\nCONTROLLER=''\n"
    assert files["etc/piimage/updates"] == f"{settings}RATE='0'\nCONFIRM='check'\n".encode()
    assert b"/usr/lib/piimage/updates" in files["etc/finit.d/updates.conf"]
    assert files["etc/piimage/updates.pem"] == keys.certificate.read_bytes()


def test_the_card_has_the_limit_in_bytes_a_second_and_who_confirms(keys: Pair) -> None:
    layers = version(keys, rate="200 kB/s", confirm="person").system.layers
    rules = [layer.rules for layer in layers if not isinstance(layer, ModulesLayer)]
    files = {file.path: file.content for rule in rules for file in rule.files}
    assert files["etc/piimage/updates"].endswith(b"RATE='200000'\nCONFIRM='person'\n")


def test_a_card_that_calls_has_the_agent_and_takes_tokens(keys: Pair, store: Store) -> None:
    calling = version(keys)
    assert wants_agent(calling.appliance)
    assert not wants_agent(Appliance(board="pi4"))
    manifest = slot_files(calling, made(calling, store))["appliance.json"]
    assert isinstance(manifest, bytes)
    assert json.loads(manifest)["provision"]["settings"] == [
        "UPDATES_GATEWAY_TOKEN", "UPDATES_TARGET_TOKEN",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_bundle_has_the_bytes_of_the_cards_files(keys: Pair, store: Store) -> None:
    calling = version(keys)
    job = noted(made(calling, store))
    signer = signer_of(calling.appliance)
    assert signer is not None
    inputs = Inputs(store, Runner(), ignore, time.time)
    bundle = make_bundle(source_of(calling, job, signer, inputs), Runner())
    files = slot_files(calling, job)
    digests = {
        content.sha256 if isinstance(content, Blob) else hashlib.sha256(content).hexdigest()
        for content in files.values()
    }
    named = {part.sha256 for part in bundle.description.parts if part.name[0] == "f"}
    assert len(named) > 3
    manifest = files["appliance.json"]
    assert isinstance(manifest, bytes)
    assert named <= {*digests, *json.loads(manifest)["pieces"].values()}
    assert bundle.description.id == hashlib.sha256(manifest).hexdigest()[:12]
    assert bundle.description.system == swu.system_digest(json.loads(manifest))
    assert {"recipe-2", "recipe-3", "layers"} <= {part.name for part in bundle.description.parts}
    assert bundle.description.part("firmware") is None
    again = make_bundle(source_of(calling, job, signer, inputs), Runner())
    assert b"".join(again.chunks()) == b"".join(bundle.chunks())


@pytest.mark.slow
def test_both_folders_of_a_pi_3_name_one_version_and_one_system(keys: Pair, store: Store) -> None:
    """Else a Pi in the other folder would report a version that no bundle has."""
    calling = version(keys, board="pi3")
    job = noted(made(calling, store))
    found = {}
    for folder in ("a/", "b/"):
        data = slot_files(calling, job, folder)["appliance.json"]
        assert isinstance(data, bytes)
        manifest = json.loads(data)
        found[data] = (swu.identity(manifest, data), swu.system_digest(manifest))
    assert len(found) == 2
    assert len(set(found.values())) == 1
    signer = signer_of(calling.appliance)
    assert signer is not None
    inputs = Inputs(store, Runner(), ignore, time.time)
    source = source_of(calling, job, signer, inputs)
    bundle = make_bundle(source, Runner())
    ((identity, system),) = set(found.values())
    assert (bundle.description.id, bundle.description.system) == (identity[:12], system)
    assert set(source.recipes) == {"a/", "b/"}
    assert source.firmware is not None and "start.elf" in source.firmware
    free = source_of(calling, job, signer, inputs, other_firmware=True)
    assert free.firmware == {}
