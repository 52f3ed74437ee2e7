from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from piimage.boards import load_board
from piimage.config.container import LABEL, ContainerConfig
from piimage.config.models import Appliance
from piimage.container.asks import asks
from piimage.lock import Lock
from piimage.oci.layout import Image, Layout
from piimage.oci.models import Execution, ImageConfig, RootFileSystem
from piimage.oci.pack import pack_layer
from piimage.plan.containers import plan_containers
from piimage.store import Store
from piimage.trees import file
from tests.unit.plan.locks import lock_of


def image(
    folder: Path, label: Mapping[str, object] | None, variables: tuple[str, ...] | None = None
) -> Image:
    layout = Layout(Store(folder))
    packed = pack_layer(layout.store, [file("bin/x", b"x", 0o755)])
    labels = None if label is None else {LABEL: json.dumps(label)}
    config = ImageConfig(
        os="linux",
        architecture="arm64",
        config=Execution(cmd=("/bin/x",), env=variables, labels=labels),
        rootfs=RootFileSystem(diff_ids=(packed.diff_id,)),
    )
    return layout.write_image(config, [packed.descriptor])


def planned(folder: Path, label: Mapping[str, object] | None, **entry: object) -> Mapping[str, Any]:
    labeled = image(folder, label)
    granted = {"trust": asks(config_of(label or {}), config_of(entry))}
    appliance = Appliance.model_validate(
        {
            "services": [{"name": "net", "image": "r/net:1", **entry, **granted}],
            "volumes": [{"name": "v"}],
        }
    )
    layer = plan_containers(appliance, Lock(), {"r/net:1": labeled})
    return written(layer.containers[0].config)


def written(config: ContainerConfig) -> Mapping[str, Any]:
    """The fields that are set, as a YAML file would have them."""
    return config.model_dump(mode="json", by_alias=True, exclude_none=True)


def config_of(fields: Mapping[str, object]) -> ContainerConfig:
    return ContainerConfig.model_validate(fields, by_alias=True, by_name=False)


NET = {"capabilities": ["CAP_NET_ADMIN"]}


def test_a_labelled_image_with_net_admin_may_write_the_network_settings(tmp_path: Path) -> None:
    closed = planned(tmp_path, NET)["readonlyPaths"]
    assert "/proc/sys/kernel" in closed
    assert not [path for path in closed if "/proc/sys/net".startswith(path)]
    # It has the settings that harden the kernel's BPF compiler.
    assert "/proc/sys/net/core" in closed
    by_entry = planned(tmp_path, {}, **{"capabilities.add": ["CAP_NET_ADMIN"]})
    assert by_entry["readonlyPaths"] == closed


@pytest.mark.parametrize(
    ("label", "entry"),
    [
        (None, NET),
        ({"capabilities": ["CAP_CHOWN"]}, {}),
        (NET, {"capabilities": ["none"]}),
        ({"capabilities": ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]}, {}),
    ],
)
def test_all_others_have_the_default(
    tmp_path: Path, label: Mapping[str, object] | None, entry: dict[str, object]
) -> None:
    assert "readonlyPaths" not in planned(tmp_path, label, **entry)


def test_read_only_paths_of_the_label_are_kept(tmp_path: Path) -> None:
    config = planned(tmp_path, {**NET, "readonlyPaths": ["/proc/fs"]})
    assert config["readonlyPaths"] == ["/proc/fs"]


def test_a_label_makes_the_root_writable_and_an_unlabelled_image_keeps_it_closed(
    tmp_path: Path,
) -> None:
    assert planned(tmp_path, {})["readonly"] is False
    assert planned(tmp_path, None)["readonly"] is True


def test_a_volume_by_name_is_bound_from_its_folder(tmp_path: Path) -> None:
    config = planned(tmp_path, None, binds=["v:/shared", "/etc/x:/x"])
    zone = "/run/piimage/localtime.tzif:/etc/localtime:ro,bind"
    assert config["binds"] == ["/var/lib/piimage/volumes/v:/shared", "/etc/x:/x", zone]


@pytest.mark.parametrize(
    "own",
    [
        {"env": ["TZ=Asia/Tokyo"]},
        {"binds": ["/data/zone:/etc/localtime"]},
        {"binds": ["/data/etc:/etc"]},
        {
            "mounts": [
                {
                    "type": "bind",
                    "source": "/x",
                    "destination": "/etc/localtime",
                    "options": ["rbind"],
                }
            ]
        },
    ],
)
def test_a_container_with_its_own_time_zone_keeps_it(tmp_path: Path, own: dict[str, Any]) -> None:
    assert "localtime.tzif" not in str(planned(tmp_path, None, **own).get("binds"))


def test_a_bind_from_the_files_mount_point_of_the_data_comes_from_data(tmp_path: Path) -> None:
    binds = ["/srv/kept/a:/a", "/srv/kept:/b:ro", "/srv/keptnot:/c", "/data/d:/d", "v:/v"]
    appliance = Appliance.model_validate(
        {
            "services": [{"name": "net", "image": "r/net:1", "binds": binds}],
            "volumes": [{"name": "v"}],
            "data": {"mount": "/srv//kept/"},
        }
    )
    layer = plan_containers(appliance, Lock(), {"r/net:1": image(tmp_path, None)})
    assert (layer.containers[0].config.binds or ())[:5] == (
        "/data/a:/a",
        "/data:/b:ro",
        "/srv/keptnot:/c",
        "/data/d:/d",
        "/var/lib/piimage/volumes/v:/v",
    )


@pytest.mark.parametrize(("readonly", "kind"), [(True, "ro"), (False, "rw")])
def test_a_volume_from_an_image_is_bound_by_its_content(
    tmp_path: Path, readonly: bool, kind: str
) -> None:
    def volume(*entries: str) -> tuple[str, str]:
        appliance = Appliance.model_validate(
            {
                "services": [{"name": "net", "image": "r/net:1", "binds": ["v:/shared:ro"]}],
                "volumes": [{"name": "v", "image": "r/fill:1", "readonly": readonly}],
            }
        )
        images = {"r/net:1": image(tmp_path, None), "r/fill:1": filled(tmp_path, *entries)}
        layer = plan_containers(appliance, Lock(), images)
        (plan,) = layer.volumes
        assert plan.readonly is readonly
        assert set(plan.layers) <= set(layer.parts)
        return plan.folder, written(layer.containers[0].config)["binds"][0]

    folder, bind = volume("a")
    assert folder.startswith(f"v-{kind}-")
    assert bind == f"/run/piimage/rootfs/volumes/{folder}:/shared:ro"
    assert volume("a") == (folder, bind)
    assert volume("b") != (folder, bind)


def filled(folder: Path, *names: str) -> Image:
    layout = Layout(Store(folder))
    packed = pack_layer(layout.store, [file(name, b"x") for name in names])
    rootfs = RootFileSystem(diff_ids=(packed.diff_id,))
    config = ImageConfig(os="linux", architecture="arm64", rootfs=rootfs)
    return layout.write_image(config, [packed.descriptor])


@pytest.mark.parametrize(
    ("own", "ring"),
    [
        (None, {"size": 8192, "count": 2, "keep": "data"}),
        ({"size": "64K"}, {"size": 65536, "count": 2, "keep": "data"}),
        ({"count": 9}, {"size": 8192, "count": 9, "keep": "data"}),
        ({"keep": "memory"}, {"size": 8192, "count": 2, "keep": "memory"}),
        ({"size": "1M", "count": 1}, {"size": 1048576, "count": 1, "keep": "data"}),
    ],
)
def test_a_service_has_the_files_ring_for_the_settings_that_it_leaves_out(
    tmp_path: Path, own: dict[str, object] | None, ring: dict[str, object]
) -> None:
    entry = {"image": "r/net:1", **({"log": own} if own else {})}
    appliance = Appliance.model_validate(
        {
            "log": {"size": 8192, "count": 2, "keep": "data"},
            "services": [{"name": "net", **entry}],
            "onboot": [{"name": "once", "image": "r/net:1"}],
        }
    )
    once, net = plan_containers(appliance, Lock(), {"r/net:1": image(tmp_path, None)}).containers
    assert written(net.config)["log"] == ring
    assert once.config.log is None


def test_the_default_ring_is_not_written_out(tmp_path: Path) -> None:
    assert "log" not in planned(tmp_path, None)


OF_IMAGE = ("PATH=/opt/bin", "A=image", "KEPT=1")


@pytest.mark.parametrize(
    ("label", "own", "variables"),
    [
        (None, None, None),
        (None, ["A=own", "B=1"], ["PATH=/opt/bin", "A=own", "KEPT=1", "B=1"]),
        (None, [], ["PATH=/opt/bin", "A=image", "KEPT=1"]),
        (None, ["A=1", "A=2"], ["PATH=/opt/bin", "A=2", "KEPT=1"]),
        # A label's variables replace those of the image's configuration, as in LinuxKit.
        ({"env": ["A=label"]}, None, ["A=label"]),
        ({"env": ["A=label", "C=3"]}, ["B=1"], ["A=label", "C=3", "B=1"]),
    ],
)
def test_an_entrys_variables_are_laid_over_those_of_its_image(
    tmp_path: Path,
    label: Mapping[str, object] | None,
    own: list[str] | None,
    variables: list[str] | None,
) -> None:
    assert variables_of(image(tmp_path, label, OF_IMAGE), own) == variables


@pytest.mark.parametrize(
    ("label", "own"), [(None, ["A=own"]), ({"env": ["A=label"]}, ["B=1"]), (None, ["PATH=/x"])]
)
def test_in_a_file_for_linuxkit_an_entrys_variables_replace_those_of_its_image(
    tmp_path: Path, label: Mapping[str, object] | None, own: list[str]
) -> None:
    assert variables_of(image(tmp_path, label, OF_IMAGE), own, init=["r/init:1"]) == own


def variables_of(of: Image, own: list[str] | None, **file: object) -> list[str] | None:
    """The merged `env` of a service that has `own` as its `env`."""
    entry = {"name": "net", "image": "r/net:1", **({} if own is None else {"env": own})}
    appliance = Appliance.model_validate({"services": [entry], **file})
    config = plan_containers(appliance, Lock(), {"r/net:1": of}).containers[0].config
    return written(config).get("env")


def test_an_entrys_variables_are_laid_over_those_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "service.yml").write_text(
        "name: meter\nentrypoint: [/bin/x]\npackages: [busybox-static]\n"
        "env: [PYTHONUNBUFFERED=1, LEVEL=low]\n"
    )
    entry = {"name": "meter", "build": str(tmp_path), "env": ["LEVEL=high"]}
    appliance = Appliance.model_validate({"services": [entry]})
    lock = lock_of(appliance, load_board("qemu-virt"))
    (planned_container,) = plan_containers(appliance, lock, {}).containers
    assert planned_container.config.env == ("PYTHONUNBUFFERED=1", "LEVEL=high")


def test_an_entry_with_packages_is_an_image_with_its_own_settings(tmp_path: Path) -> None:
    entry = {
        "name": "meter", "packages": ["busybox-static"], "command": ["/bin/x", "-v"],
        "env": ["A=1"], "user": "7", "binds": ["/data/x:/x"],
    }  # fmt: skip
    appliance = Appliance.model_validate({"services": [entry]})
    lock = lock_of(appliance, load_board("qemu-virt"))
    (plan,) = plan_containers(appliance, lock, {}).containers
    assert (plan.execution.entrypoint, plan.execution.cmd) == (("/bin/x", "-v"), None)
    assert (plan.execution.env, plan.execution.user) == (("A=1",), "7")
    label = json.loads(plan.labels[LABEL])
    assert (label["binds"], label["readonly"]) == (["/data/x:/x"], True)
    assert plan.labels["org.opencontainers.image.title"] == "meter"
