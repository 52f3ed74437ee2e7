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
def test_manifests_are_written_alone_and_never_applied(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.yml"
    file.write_text("board: qemu-virt\n")
    assert cli.execute(["deploy", str(file), "--to", "kubernetes", *words]) == 2
    assert "kubectl apply" in capsys.readouterr().err
