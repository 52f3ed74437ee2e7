"""No key does nothing: changed, each changes what comes out, or is refused."""

from __future__ import annotations

import ast
import functools
import itertools
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from pydantic import BaseModel

from piimage.board import Board
from piimage.config.container import ContainerConfig
from piimage.config.deferred import Deferred
from piimage.config.load import load_folder
from piimage.config.models import Appliance
from piimage.config.module import KernelModule
from piimage.config.module_folder import module_folder
from piimage.config.service import Service
from piimage.lock import Lock
from piimage.modules.steps import module_step
from tests.unit.signing_keys import pair
from tests.unit.yamls import dumped, loaded

from .file_makers import Change
from .keys_of_a_folder import SERVICE, SERVICE_ELSEWHERE, F
from .keys_of_the_file import ELSEWHERE, YAML
from .outcomes import outcome

CODE = Path(__file__).parents[3] / "piimage"


@pytest.fixture(autouse=True)
def _no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(0, 30)
    monkeypatch.setattr("piimage.testing.checks.time.monotonic", lambda: float(next(clock)))
    monkeypatch.setattr("piimage.testing.checks.time.sleep", lambda _: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return filled_folder(tmp_path)


def filled_folder(folder: Path) -> Path:
    """Write what the files of this module name, and return `folder`."""
    for name in ("one", "two"):
        (folder / f"{name}.txt").write_text(f"correct {name}\n")
    for name in ("f", "g"):
        (folder / name).mkdir()
        for text in ("one.txt", "two.txt"):
            (folder / name / text).write_text(text)
        text = dumped({**F, "name": name})
        (folder / name / "service.yml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def outcome_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Return `outcome` in one folder; many keys are changed in the same file, worked out once."""
    folder = filled_folder(tmp_path_factory.mktemp("keys"))
    for name in ("ours", "other"):
        pair(folder, name)
    return functools.cache(lambda text: outcome(loaded(text), folder))


def rows(table: Mapping[str, Mapping[str, Change]]) -> list[tuple[str, str]]:
    return [(model, key) for model, keys in table.items() for key in keys]


@pytest.mark.slow
@pytest.mark.parametrize(("model", "key"), rows(YAML))
def test_a_key_of_the_file_changes_what_comes_out(
    model: str, key: str, outcome_of: Callable[[str], str]
) -> None:
    before, after = map(dumped, YAML[model][key])
    first = outcome_of(before)
    assert not first.startswith("error") or (model, key) == ("File", "optional"), first
    assert outcome_of(after) != first


@pytest.mark.slow
@pytest.mark.parametrize(("model", "key"), rows(SERVICE))
def test_a_key_of_a_container_folder_changes_what_comes_out(
    model: str, key: str, folder: Path
) -> None:
    found = []
    for data in SERVICE[model][key]:
        (folder / "f/service.yml").write_text(dumped(dict(data)))
        result = outcome({"services": [{"name": "f", "build": "f"}]}, folder)
        found.append(f"{result}\n{load_folder(folder / 'f').name}" if key == "name" else result)
    assert not found[0].startswith("error"), found[0]
    assert found[0] != found[1]


def models(top: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Every model that `top` leads to, by name."""
    found: dict[str, type[BaseModel]] = {}
    waiting = [top]
    while waiting:
        model = waiting.pop()
        if model.__name__ in found:
            continue
        found[model.__name__] = model
        for info in model.model_fields.values():
            waiting += _named((info.annotation, *info.metadata))
    return found


def _named(parts: tuple[object, ...]) -> Iterator[type[BaseModel]]:
    for part in parts:
        if isinstance(part, type) and issubclass(part, BaseModel):
            yield part
        elif isinstance(part, Deferred):
            yield part.model()
        else:
            yield from _named(typing.get_args(part))
            yield from _named(getattr(part, "__metadata__", ()))


def test_no_key_of_the_file_is_forgotten_here() -> None:
    keys = {(name, key) for name, model in models(Appliance).items() for key in model.model_fields}
    assert keys == {*rows(YAML), *ELSEWHERE}


def module(folder: Path, **fields: object) -> Path:
    path = folder / "m"
    path.mkdir(exist_ok=True)
    for name in ("Kbuild", "a.ko", "b.ko"):
        (path / name).write_text(name)
    text = dumped({"name": "m", "license": "MIT", "prebuilt": "a.ko", **fields})
    (path / "module.yml").write_text(text)
    return path


@pytest.mark.parametrize("fields", [{"name": "n"}, {"prebuilt": "b.ko"}])
def test_a_key_of_a_module_folder_changes_what_comes_out(
    fields: dict[str, object], folder: Path
) -> None:
    before = module_step(module_folder(module(folder)), Lock()).key
    assert module_step(module_folder(module(folder, **fields)), Lock()).key != before


@pytest.mark.provokes("modules.bad-parameter")
def test_a_parameter_that_a_module_folder_does_not_name_is_refused(folder: Path) -> None:
    module(folder, parameters={"y": "why"})
    data = {"modules": [{"build": "m", "params": {"x": "1"}}]}
    assert "a.yml:4:5: the module has no parameter 'x'; instead: one of y" in outcome(data, folder)
    module(folder, parameters={"x": "why"})
    assert "no parameter" not in outcome(data, folder)


def test_no_key_of_a_module_folder_is_forgotten_here() -> None:
    above = {"name", "prebuilt", "parameters"}
    # What `piimage module build` says, and what it compiles: tests/unit/modules.
    assert set(KernelModule.model_fields) == {*above, "description", "license", "source"}


def test_every_key_of_a_board_is_read() -> None:
    read = {
        node.attr
        for path in CODE.rglob("*.py")
        if "board" in (text := path.read_text())
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute)
    }
    keys = {(name, key) for name, model in models(Board).items() for key in model.model_fields}
    assert len(keys) > 80
    assert {key for key in keys if key[1] not in read} == set()


def test_no_key_of_a_container_folder_is_forgotten_here() -> None:
    # What is in `config:` is the entry's as well.
    shared = {*models(ContainerConfig), "Health", "Restart"}
    keys = {
        (name, key)
        for name, model in models(Service).items()
        for key in model.model_fields
        if name not in shared
    }
    assert keys == {*rows(SERVICE), *(("Service", key) for key in SERVICE_ELSEWHERE)}
