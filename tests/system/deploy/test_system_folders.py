"""A whole system updated on a Pi whose slots are folders: tried by tryboot.txt, and kept."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.deploy import system_site
from tests.system.deploy.system_site import Site

KEPT = (
    "boot: { cmdline: [shed.version=2], config: { gpu_mem: 48 } }\n"
    "files: [ { path: etc/of-the-base, contents: new }, { path: usr/share/five, source: five } ]\n"
)
LAYER = 5_000_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, piimage_store: Path) -> Iterator[Site]:
    with system_site.site(tmp_path_factory.mktemp("folders"), piimage_store, "pi3") as found:
        (found.greenhouse.folder / "five").write_bytes(random.Random(5).randbytes(LAYER))
        yield found


def test_a_pi_3_writes_the_other_folder_tries_it_and_keeps_it(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    before = site.state()
    assert (before.booted, before.other, before.kept) == ("a/", "b/", "a/")
    wish = site.wish(KEPT, "a system of its own")
    outcome = site.deploy(wish)
    with capsys.disabled():
        sys.stdout.write(f"\nfolders: {outcome.sent} bytes sent, {outcome.seconds:.1f} s\n")
    assert LAYER < outcome.sent < 1.02 * LAYER + 100_000
    (tried,) = site.pi.session.restarts
    assert (tried.partition, tried.tryboot) == (1, True)
    state = site.state()
    assert (state.booted, state.kept, state.update) == ("b/", "b/", "kept")
    words = site.pi.sh("cat /proc/cmdline").split()
    assert {"shed.version=2", "piimage.prefix=b/", "piimage.try=1"} <= set(words)
    assert site.pi.sh("cat /etc/of-the-base") == "new"
    config = site.pi.sh("head -n 3 /run/piimage/slot/config.txt").split()
    assert config == ["[all]", "os_prefix=b/", "gpu_mem=48"]
    assert site.compare(wish, "b/") > 40 << 20
