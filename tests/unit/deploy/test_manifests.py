"""What `deploy` refuses of clusters before anything is built or reached."""

from __future__ import annotations

from pathlib import Path

import pytest

from piimage.cli import main as cli


@pytest.mark.provokes("deploy.manifests")
@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--dry-run"],
        ["--registry", "r/n", "--to", "pi@shed"],
        ["--dry-run", "--registry", "r/n", "--to", "pi@shed"],
    ],
)
@pytest.mark.parametrize(
    ("kind", "command"), [("kubernetes", "kubectl apply"), ("swarm", "docker stack deploy")]
)
def test_manifests_are_written_alone(
    kind: str, command: str, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.yml"
    file.write_text("board: qemu-virt\n")
    assert cli.execute(["deploy", str(file), "--to", kind, *words]) == 2
    assert command in capsys.readouterr().err


@pytest.mark.provokes("deploy.manifests")
@pytest.mark.parametrize(
    "words",
    [
        ["--to", "swarm", "--registry", "r/n"],
        ["--to", "kubernetes", "--registry", "r/n", "--apply"],
        ["--to", "pi@shed"],
    ],
)
def test_only_kubernetes_has_a_base_for_kustomize(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.yml"
    file.write_text("board: qemu-virt\n")
    base = tmp_path / "base"
    assert cli.execute(["deploy", str(file), "--kustomize", str(base), *words]) == 2
    assert "--kustomize is for --to kubernetes" in capsys.readouterr().err
    assert not base.exists()


@pytest.mark.provokes("deploy.manifests")
@pytest.mark.parametrize(
    "words",
    [
        ["--to", "swarm", "--registry", "r/n"],
        ["--to", "kubernetes", "--registry", "r/n", "--dry-run"],
        ["--to", "pi@shed"],
    ],
)
def test_only_manifests_for_kubernetes_are_applied(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.yml"
    file.write_text("board: qemu-virt\n")
    assert cli.execute(["deploy", str(file), "--apply", *words]) == 2
    assert "--apply is for --to kubernetes" in capsys.readouterr().err
