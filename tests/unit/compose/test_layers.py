from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from piimage.compose.containers import ContainerPlan, ContainersLayer
from piimage.compose.layers import FilesLayer, Layer, LayerTar, PackagesLayer
from piimage.compose.rules import Bundle, File, Folder, Rules
from piimage.config.container import secure_defaults
from piimage.config.rootfs import User
from piimage.errors import PiimageError
from piimage.oci.models import Execution
from piimage.run import Runner
from piimage.steps import Builder, Job
from piimage.store import Store

from .debs import package


def built(store: Store, layer: Layer) -> tuple[Job, Path]:
    job = Builder(store, Runner()).build(layer)
    return job, store.verified(layer.squashfs(job))


def listing(squashfs: Path) -> dict[str, str]:
    """Path to mode, owner and link, as unsquashfs sees them."""
    text = subprocess.run(
        ["unsquashfs", "-lln", "-d", "", squashfs], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(maxsplit=5) for line in text.splitlines() if line[:1] in "-dlcb"]
    return {row[5].partition(" -> ")[0]: f"{row[0]} {row[1]}" for row in rows if len(row) == 6}


def content(squashfs: Path, path: str) -> str:
    return subprocess.run(
        ["unsquashfs", "-cat", squashfs, path], capture_output=True, text=True, check=True
    ).stdout


def test_packages_are_unpacked_with_their_owners_and_modes(store: Store, tmp_path: Path) -> None:
    first = package(store, tmp_path, "one", {"usr/bin/one": "1", "etc/one.conf": "c"})
    second = package(store, tmp_path, "two", {"usr/bin/two": "2", "usr/bin/2": "-> two"})
    _, layer = built(store, PackagesLayer("test", (first, second), Rules()))
    paths = listing(layer)
    assert paths["/usr/bin/one"] == "-rwxr-xr-x 0/0"
    assert paths["/etc/one.conf"] == "-rw-r--r-- 0/0"
    assert paths["/usr/bin/2"].startswith("lrwxrwxrwx")
    assert content(layer, "usr/bin/two") == "2"


def test_files_of_packages_in_bin_reach_the_merged_usr(store: Store, tmp_path: Path) -> None:
    old = package(store, tmp_path, "old", {"bin/tool": "x", "lib/tool/data": "d"})
    _, layer = built(store, PackagesLayer("test", (old,), Rules(links={"bin": "usr/bin"})))
    paths = listing(layer)
    assert "/usr/bin/tool" in paths
    assert "/usr/lib/tool/data" in paths
    assert paths["/bin"].startswith("l")


def test_dropped_paths_do_not_reach_the_layer(store: Store, tmp_path: Path) -> None:
    files = {"usr/share/doc/x/copyright": "c", "usr/share/doc/x/README": "r", "usr/bin/x": "x"}
    rules = Rules(drop=("usr/share/**",), keep=("usr/share/doc/*/copyright",))
    _, layer = built(store, PackagesLayer("test", (package(store, tmp_path, "x", files),), rules))
    assert "/usr/share/doc/x/copyright" in listing(layer)
    assert "/usr/share/doc/x/README" not in listing(layer)


def test_the_files_of_the_rules_replace_those_of_a_package(store: Store, tmp_path: Path) -> None:
    pack = package(store, tmp_path, "x", {"etc/motd": "package's", "etc/passwd": "package's"})
    root = User(name="root", uid=0, gid=0)
    rules = Rules(files=(File("etc/motd", b"ours", 0o600),), users=(root,))
    _, layer = built(store, PackagesLayer("test", (pack,), rules))
    assert content(layer, "etc/motd") == "ours"
    assert content(layer, "etc/passwd").startswith("root:x:0:0")
    assert listing(layer)["/etc/motd"] == "-rw------- 0/0"


def test_bundles_join_files_that_are_themselves_dropped(store: Store, tmp_path: Path) -> None:
    certificates = {f"usr/share/ca/{name}.crt": f"CERT {name}" for name in "ab"}
    pack = package(store, tmp_path, "ca", certificates)
    rules = Rules(drop=("usr/share/**",), bundles=(Bundle("etc/ca.pem", "usr/share/ca/*.crt"),))
    _, layer = built(store, PackagesLayer("test", (pack,), rules))
    assert content(layer, "etc/ca.pem") == "CERT a\nCERT b\n"
    assert "/usr/share/ca/a.crt" not in listing(layer)


@pytest.mark.provokes("compose.dropped-link")
def test_a_hard_link_to_a_dropped_file_is_an_error(store: Store, tmp_path: Path) -> None:
    pack = package(store, tmp_path, "x", {"usr/lib/a": "a", "usr/lib/b": "= usr/lib/a"})
    for dropped in ("usr/lib/a", "usr/lib/b"):
        layer = PackagesLayer("test", (pack,), Rules(drop=(dropped,)))
        try:
            built(store, layer)
        except PiimageError as error:
            assert "hard link" in str(error)
            return
    pytest.fail("one of the two is the link to the other")


@pytest.mark.provokes("compose.no-such-file")
def test_a_required_file_that_no_package_has_is_named(store: Store, tmp_path: Path) -> None:
    pack = package(store, tmp_path, "x", {"usr/lib/a": "a"})
    wanted = (("usr/lib/b", "usr/lib/a"), ("usr/lib/c", "usr/lib/d"))
    with pytest.raises(PiimageError, match=r"\(x\) has usr/lib/c or usr/lib/d"):
        built(store, PackagesLayer("test", (pack,), Rules(), wanted))
    _, layer = built(store, PackagesLayer("test", (pack,), Rules(), wanted[:1]))
    assert "/usr/lib/a" in listing(layer)


def test_files_come_from_bytes_and_from_the_store(store: Store) -> None:
    big = store.add_bytes(b"x" * 3_000_000)
    rules = Rules(
        files=(File("opt/big", big, 0o755, 1, 2), File("opt/small", b"s")),
        folders=(Folder("data", 0o700, 3, 4),),
    )
    _, layer = built(store, FilesLayer("test", rules))
    assert len(content(layer, "opt/big")) == 3_000_000
    assert listing(layer)["/opt/big"] == "-rwxr-xr-x 1/2"
    assert listing(layer)["/data"] == "drwx------ 3/4"


def test_the_same_fields_give_the_same_bytes_in_another_store(store: Store, tmp_path: Path) -> None:
    pack = package(store, tmp_path, "x", {f"usr/share/{n}": str(n) * 999 for n in range(50)})
    layer = PackagesLayer("test", (pack,), Rules())
    first = built(store, layer)[1].read_bytes()
    other = Store(tmp_path / "other")
    other.add_bytes(store.path(pack.deb).read_bytes())
    assert built(other, layer)[1].read_bytes() == first


def test_a_layer_can_be_written_as_a_tar_without_its_squashfs(store: Store) -> None:
    layer = FilesLayer("test", Rules(files=(File("a", b"x"),)))
    tar = LayerTar(layer)
    builder = Builder(store, Runner())
    assert builder.pending(tar) == (tar,)
    listed = subprocess.run(
        ["tar", "-tf", builder.build(tar).file(tar)], capture_output=True, text=True, check=True
    )
    assert listed.stdout == "a\n"


def test_the_containers_layer_names_the_layers_of_each_container(store: Store) -> None:
    upper = FilesLayer("upper", Rules(files=(File("a", b"x"),)))
    lower = FilesLayer("lower", Rules(files=(File("b", b"y"),)))
    hello = ContainerPlan(
        name="hello",
        kind="services",
        folder="hello",
        config=secure_defaults(),
        execution=Execution(entrypoint=("/b",)),
        layers=(lower, upper),
        place="services.hello",
    )
    job, path = built(store, ContainersLayer((hello,), {"hello": 100}))
    digests = [layer.squashfs(job).sha256 for layer in (lower, upper)]
    assert content(path, "services/hello/layers").split() == digests
    spec = json.loads(content(path, "services/hello/config.json"))
    assert spec["process"]["args"] == ["/b"]
    assert spec["process"]["noNewPrivileges"] is True
    assert spec["root"] == {"path": "/run/piimage/rootfs/services/hello", "readonly": False}
    assert content(path, "finit.d/hello.conf").startswith("service [2345] name:hello ")
