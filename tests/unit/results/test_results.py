from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from piimage.compose.layers import FilesLayer
from piimage.compose.rules import File, Rules
from piimage.debian.package import Package
from piimage.lock import Lock, LockedImage, LockedRoot
from piimage.results import components, layer_label, layer_origins, results
from piimage.run import Runner
from piimage.sbom.ledger import Ledger, Page
from piimage.sbom.model import bill
from piimage.steps import Builder
from piimage.store import Store
from piimage.trees import Entry, Kind, file, folder
from tests.unit.plan.locks import lock_of
from tests.unit.plan.test_slot import made, network, planned

COPYRIGHT = b"""Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
License: Expat
"""
RUNC = Package(
    "runc", "1.1-1", "arm64", "pool/main/r/runc/runc.deb", 3, "1" * 64, "runc", "1.1", "trixie"
)
LOCK = Lock(
    roots=(LockedRoot("system", ("runc",), (), "arm64", ("runc:arm64",)),),
    packages=(RUNC,),
    images=(LockedImage("reg:5000/redis:7", f"sha256:{'2' * 64}", f"sha256:{'3' * 64}"),),
)


def page(*entries: Entry) -> Page:
    ledger = Ledger()
    for entry in ledger.noting(entries):
        for _ in entry.content():
            pass
    return Page.decode(ledger.encode())


def test_a_ledger_notes_digest_and_package_of_each_file() -> None:
    noted = page(folder("etc"), replace(file("etc/a", b"x"), origin="runc_1.1-1"), file("b", b""))
    assert noted.files.keys() == {"etc/a", "b"}
    assert noted.files["etc/a"].sha256 == hashlib.sha256(b"x").hexdigest()
    assert (noted.files["etc/a"].origin, noted.files["b"].origin) == ("runc_1.1-1", "")


def test_a_ledger_reads_licences_on_the_way() -> None:
    noted = page(
        file("usr/share/doc/runc/copyright", COPYRIGHT),
        file("usr/share/doc/other/copyright", b"free text"),
        Entry("usr/share/doc/link/copyright", Kind.SYMLINK, link="../runc/copyright"),
    )
    assert dict(noted.licences) == {"runc": "MIT"}


def test_every_layer_that_is_built_has_its_ledger(store: Store) -> None:
    layer = FilesLayer("hello", Rules(files=(File("a", b"x"),)))
    job = Builder(store, Runner()).build(layer)
    assert Page.decode(job.file(layer, "files").read_bytes()).files.keys() == {"a"}
    assert layer_label(layer) == "hello (files)"


def test_nothing_beside_the_card_tells_of_a_passphrase(store: Store, tmp_path: Path) -> None:
    found = []
    for text in ("password1", "password2"):
        version = planned("pi4", network=network(text))
        job = made(version, store)
        pages = {"files": store.add_bytes(Ledger().encode())}
        layers = {layer.key: {**job.made[layer.key], **pages} for layer in version.layers}
        job = replace(job, made={**job.made, **layers})
        written = results("pi4", version, lock_of(version.appliance, version.board), job, tmp_path)
        assert written.mode == 0o600
        found.append(written.files)
        for path in written.write():
            assert path.stat().st_mode & 0o777 == 0o600
    assert found[0] == found[1]
    assert len(found[0]) == 3


def test_the_bill_lists_what_the_lock_pins_and_who_uses_it() -> None:
    parts = bill("x", "y", components(LOCK, [Page({}, {"runc": "MIT"})])).components
    found = {part.name: part for part in parts}
    assert (found["runc"].licence, found["runc"].used_by) == ("MIT", ("system",))
    assert (found["reg:5000/redis"].version, found["reg:5000/redis"].sha256) == ("7", "3" * 64)


def test_the_kernel_has_the_licence_that_it_states_itself() -> None:
    name = "linux-image-6.12-arm64"
    kernel = replace(RUNC, name=name, source="linux-signed-arm64")
    root = LockedRoot("kernel", (name,), (), "arm64", (kernel.key,))
    (part,) = components(Lock(roots=(root,), packages=(kernel,)), ())
    assert part.licence == "GPL-2.0-only WITH Linux-syscall-note"


def test_the_origin_of_a_file_is_its_package_its_kernel_or_its_layer() -> None:
    parts = bill("x", "y", components(LOCK, ()))
    noted = page(
        replace(file("usr/sbin/runc", b"x"), origin="runc_1.1-1"),
        file("usr/lib/modules/6/a.ko.xz", b"m"),
        file("etc/hostname", b"pi\n"),
    )
    found = {o.path: o.source for o in layer_origins({"base": noted}, parts, "pkg:kernel")}
    assert found == {
        "base: /usr/sbin/runc": "pkg:deb/debian/runc@1.1-1?arch=arm64",
        "base: /usr/lib/modules/6/a.ko.xz": "pkg:kernel",
        "base: /etc/hostname": "piimage:base",
    }
