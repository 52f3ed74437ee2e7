"""goosebit as a service of a Pi: what it keeps, and the administrator's password."""

from __future__ import annotations

from pathlib import Path

import pytest
from goosebit_pi import __main__ as program
from goosebit_pi.place import password, settings

from piimage.config.load import load_folder


def test_everything_that_has_to_last_is_in_the_folder_of_the_service(tmp_path: Path) -> None:
    found = settings(tmp_path, {})
    assert found["GOOSEBIT_DB_URI"] == f"sqlite://{tmp_path}/db.sqlite3"
    assert found["GOOSEBIT_ARTIFACTS_DIR"] == f"{tmp_path}/artifacts"
    assert (tmp_path / "artifacts").is_dir()


def test_a_restart_logs_nobody_out(tmp_path: Path) -> None:
    first, second = (settings(tmp_path, {})["GOOSEBIT_SECRET_KEY"] for _ in range(2))
    assert first == second
    assert len(first) == 64
    assert (tmp_path / "session.key").stat().st_mode & 0o777 == 0o600


def test_an_upload_that_was_cut_off_is_removed(tmp_path: Path) -> None:
    folder = Path(settings(tmp_path, {})["TMPDIR"])
    (folder / "part").write_text("x")
    settings(tmp_path, {})
    assert list(folder.iterdir()) == []


def test_a_setting_of_the_file_goes_before(tmp_path: Path) -> None:
    assert (
        settings(tmp_path, {"GOOSEBIT_DB_URI": "postgres://x"})["GOOSEBIT_DB_URI"] == "postgres://x"
    )


def test_the_password_is_one_line_of_at_least_eight_characters(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("long enough\n")
    assert password(path) == "long enough"
    path.write_text("short\n")
    with pytest.raises(ValueError, match="at least 8 characters"):
        password(path)
    with pytest.raises(ValueError, match="No such file"):
        password(tmp_path / "none")


def test_without_a_password_the_server_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GOOSEBIT_ADMIN_FILE", str(tmp_path / "none"))
    assert program.main() == 1
    assert "No such file" in capsys.readouterr().err


def test_the_folder_takes_nothing_but_its_own_data_and_the_secret() -> None:
    folder = load_folder(Path(__file__).parents[3] / "services" / "goosebit")
    assert folder.config.secrets == ("goosebit_admin",)
    assert folder.config.binds == ("/data/goosebit:/data/goosebit",)
    assert folder.config.capabilities == ()
    assert folder.wheels == ("goosebit==0.2.12",)
