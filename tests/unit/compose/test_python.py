from __future__ import annotations

from pathlib import Path

import pytest

from piimage import events
from piimage.compose.described import container_layers
from piimage.compose.layers import Layer
from piimage.compose.python import Python, wheels_layer
from piimage.config.service import Service
from piimage.errors import PiimageError
from piimage.lock import LockedWheel
from piimage.run import Runner
from piimage.steps import Job
from piimage.store import Store
from tests.unit.python.wheels import wheel

SITE = "usr/local/lib/python3.13/dist-packages"


def locked(path: Path, store: Store) -> LockedWheel:
    blob = store.add_bytes(path.read_bytes())
    return LockedWheel("thing", "1.0", path.name, blob.size, blob.sha256)


def project(folder: Path, name: str) -> Path:
    made = folder / name
    (made / name).mkdir(parents=True)
    (made / "pyproject.toml").write_text(f'[project]\nname = "{name}"\nversion = "1"\n')
    (made / name / "__init__.py").write_text("")
    return made


def layers(name: str, folder: Path, python: Python) -> tuple[Layer, ...]:
    user = {"name": "root", "uid": 0, "gid": 0}
    service = Service.model_validate({"name": name, "entrypoint": ["/x"], "users": [user]})
    return container_layers(name, service, (), None, folder, python)


def test_wheels_lie_in_one_layer_that_says_whose_files_they_are(
    tmp_path: Path, store: Store
) -> None:
    layer = wheels_layer([locked(wheel(tmp_path, {"thing.py": b"x"}), store)], "3.13", "arm64")
    origins = {}
    for entry in layer.tree(Job(store, Runner(), events.ignore, {})):
        origins[entry.path] = entry.origin
        assert sum(map(len, entry.content())) == entry.size
    assert origins[f"{SITE}/thing.py"] == "thing-1.0"
    assert origins["usr/local/lib"] == ""


def test_two_wheels_with_the_same_file_are_refused(tmp_path: Path, store: Store) -> None:
    pin = locked(wheel(tmp_path, {"thing.py": b"x"}), store)
    layer = wheels_layer([pin, pin], "3.13", "arm64")
    with pytest.raises(PiimageError, match="comes twice"):
        for entry in layer.tree(Job(store, Runner(), events.ignore, {})):
            list(entry.content())


def test_machine_code_is_held_against_the_layers_processor(tmp_path: Path, store: Store) -> None:
    code = b"\x7fELF" + bytes(14) + b"\x3e\x00"
    pin = locked(wheel(tmp_path, {"thing.so": code}), store)
    job = Job(store, Runner(), events.ignore, {})
    assert list(wheels_layer([pin], "3.13", "amd64").tree(job))
    with pytest.raises(PiimageError, match="another machine"):
        list(wheels_layer([pin], "3.13", "arm64").tree(job))


def test_containers_share_all_but_the_last_layer(tmp_path: Path, store: Store) -> None:
    pin = locked(wheel(tmp_path), store)
    shared = project(tmp_path, "shared")
    first, second = (
        layers(name, tmp_path, Python("3.13", "arm64", (pin,), (shared, project(tmp_path, name))))
        for name in ("one", "other")
    )
    assert [a.key == b.key for a, b in zip(first, second, strict=True)] == [True, True, False]


def test_a_changed_line_touches_the_last_layer_alone(tmp_path: Path, store: Store) -> None:
    own = project(tmp_path, "own")
    python = Python("3.13", "arm64", (locked(wheel(tmp_path), store),), (own,))
    before = layers("own", tmp_path, python)
    (own / "own" / "__init__.py").write_text("changed = 1\n")
    after = layers("own", tmp_path, python)
    assert [a.key == b.key for a, b in zip(before, after, strict=True)] == [True, False]


def test_another_python_is_another_layer(tmp_path: Path, store: Store) -> None:
    pin = locked(wheel(tmp_path), store)
    keys = {wheels_layer([pin], f"3.{minor}", "arm64").key for minor in (13, 14)}
    assert len(keys) == 2
