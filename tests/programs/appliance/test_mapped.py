"""The root of a container with user ids of its own: its layers are mounted with mapped owners."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.programs.appliance.scripts import Pi

IDMAP = "b:0:1433468928:65536"


@pytest.fixture
def pi(tmp_path: Path) -> Pi:
    pi = Pi(tmp_path)
    pi.install_library()
    library = pi.path("usr/lib/piimage/container.sh")
    library.write_text(library.read_text().replace("/usr/bin/mount", f"{tmp_path}/bin/mount"))
    pi.program("mount", f'echo "mapped $*" >>{tmp_path}/called; [ ! -e {tmp_path}/no-idmap ]')
    for digest in ("aa", "bb"):
        pi.path(f"run/piimage/layers/{digest}/x")
    return pi


def libraries(pi: Pi) -> str:
    return "".join(f". {pi.root}/usr/lib/piimage/{name}; " for name in ("lib.sh", "container.sh"))


def mount(pi: Pi, layers: str, **values: str) -> list[str]:
    """Mount the root of a service with these layers; return the mounts, or that it failed."""
    pi.write("containers/services/web/layers", "".join(f"{name}\n" for name in layers.split()))
    lines = "".join(f"{key}='{value}'\n" for key, value in values.items())
    pi.write("containers/services/web/container.env", lines)
    pi.path("called").write_text("")
    folder = f"{pi.root}/containers/services/web"
    call = f"load_container {folder}; mount_rootfs {folder} services/web || echo failed"
    noting = f'mount() {{ echo "mount $*" >>{pi.root}/called; }}; is_mounted() {{ return 1; }}; '
    out = pi.sh(f"{libraries(pi)}{noting}{call}")
    text = pi.path("called").read_text().replace(f"{pi.root}/run/piimage", "RUN")
    return [*text.splitlines(), *out.split()]


def test_each_layer_is_mounted_with_the_ids_of_the_container(pi: Pi) -> None:
    assert mount(pi, "aa bb", IDMAP=IDMAP) == [
        f"mapped --bind -o ro,nodev,X-mount.idmap={IDMAP} RUN/layers/aa RUN/mapped/services/web/aa",
        f"mapped --bind -o ro,nodev,X-mount.idmap={IDMAP} RUN/layers/bb RUN/mapped/services/web/bb",
        "mount -t overlay -o ro,nodev,"
        "lowerdir=RUN/mapped/services/web/bb:RUN/mapped/services/web/aa "
        "overlay RUN/rootfs/services/web",
    ]


def test_a_single_layer_needs_no_overlay(pi: Pi) -> None:
    assert mount(pi, "aa", IDMAP=IDMAP)[1:] == [
        "mount -o bind,ro,nodev RUN/mapped/services/web/aa RUN/rootfs/services/web"
    ]


def test_without_ids_of_its_own_a_container_has_the_layers_as_they_are(pi: Pi) -> None:
    assert mount(pi, "aa") == ["mount -o bind,ro,nodev RUN/layers/aa RUN/rootfs/services/web"]


def test_a_kernel_that_maps_no_owners_starts_no_such_container(pi: Pi) -> None:
    pi.write("no-idmap", "")
    assert mount(pi, "aa", IDMAP=IDMAP)[1:] == ["failed"]


def test_the_mounts_go_with_the_root(pi: Pi) -> None:
    mount(pi, "aa bb", IDMAP=IDMAP)
    noting = f'umount() {{ echo "$1" >>{pi.root}/unmounted; }}; '
    pi.sh(f"{libraries(pi)}{noting}unmount_rootfs services/web")
    unmounted = pi.path("unmounted").read_text().replace(f"{pi.root}/run/piimage", "RUN")
    assert unmounted.splitlines() == [
        "RUN/rootfs/services/web", "RUN/mapped/services/web/aa", "RUN/mapped/services/web/bb",
    ]  # fmt: skip
    assert not pi.path("run/piimage/mapped/services/web").exists()


@pytest.mark.parametrize(
    ("owner", "told"),
    [
        ("0", True),
        ("1433468927", True),
        ("1433468928", False),
        ("1433534463", False),  # the last user of the container
        ("1433534464", True),
    ],
)
def test_a_folder_of_another_user_is_told_with_the_command_that_gives_it(
    pi: Pi, owner: str, told: bool
) -> None:
    folder = f"{pi.root}/data/web"
    pi.path("data/web/x")
    values = f"IDMAP={IDMAP}\nMKDIR={folder}\nMKDIR_OWNER=1433468928:1433468928\n"
    pi.write("containers/services/web/container.env", values)
    entry = f"{pi.root}/containers/services/web"
    stub = f"stat() {{ echo {owner}; }}; "
    pi.sh(f"{libraries(pi)}{stub}load_container {entry}; prepare_host {entry} services/web")
    message = (
        f"piimage: services/web: {folder} belongs to user {owner}: to give it to the container, "
        f"chown -R 1433468928:1433468928 {folder}"
    )
    assert pi.console() == ([message] if told else [])
