from __future__ import annotations

import time
from pathlib import Path

import pytest

from piimage import events
from piimage.errors import InputError
from piimage.lock import Lock
from piimage.locking.inputs import Inputs
from piimage.modules.build import alone, build_module, require_named
from piimage.run import Runner
from piimage.store import Store
from tests.unit.config.test_module_folder import write
from tests.unit.kernel.elf import module


@pytest.mark.provokes("modules.not-in-file")
def test_a_file_that_does_not_load_the_module_is_refused_with_the_line_to_add(
    tmp_path: Path,
) -> None:
    appliance = alone(tmp_path / "other", "pi4")
    with pytest.raises(InputError) as caught:
        require_named(appliance, tmp_path / "a", tmp_path / "pi4.yml")
    require_named(appliance, tmp_path / "other", tmp_path / "pi4.yml")
    assert caught.value.place == str(tmp_path / "pi4.yml")
    assert f"- build: {tmp_path / 'a'}" in (caught.value.hint or "")


def test_the_module_is_written_whole(tmp_path: Path, store: Store, runner: Runner) -> None:
    inputs = Inputs(store, runner, events.ignore, time.time, offline=True)
    folder = write(tmp_path / "a", "name: a\nlicense: X\nprebuilt: vendor.bin\n")
    ready = module(name="a", vermagic="6.12.1 SMP", parmtype="x:int")
    (folder / "vendor.bin").write_bytes(ready)
    built = build_module(folder, Lock(), inputs, tmp_path / "out")
    assert built.path.read_bytes() == ready
    assert (built.info.name, built.info.parameters) == ("a", ("x",))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.ko"]
