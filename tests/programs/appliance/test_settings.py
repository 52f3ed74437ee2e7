"""What a card was told reaches the containers that ask for it, and nobody else."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.programs.appliance.configured import LIBRARIES, configure, configured, write_container
from tests.programs.appliance.scripts import Pi


@pytest.fixture
def pi(tmp_path: Path) -> Pi:
    return new_pi(tmp_path)


def new_pi(folder: Path) -> Pi:
    pi = Pi(folder)
    pi.install_library()
    return pi


def environment_of(pi: Pi, env: list[str], names: str, text: str) -> list[str]:
    """Return the variables of a container; `text` are the card's settings."""
    config = write_container(pi, env=env, settings=names.split(), annotations={"env": '"env":["'})
    pi.write("data/piimage/provision/settings", text)
    _, made = configured(pi)
    found: list[str] = made["process"].pop("env")
    del config["process"]["env"]
    assert made == config
    return found


def lines(told: dict[str, str]) -> str:
    """As `piimage flash --set` writes them."""
    return "".join(f"{key}={shlex.quote(value)}\n" for key, value in told.items())


def test_what_is_asked_for_and_known_replaces_what_the_file_says(pi: Pi) -> None:
    told = {"COLOUR": "green", "PLACE": "shed", "SECRET": "x"}
    env = ["PATH=/bin", "COLOUR=grey", "COLOURS=many", 'Q="]é']
    assert environment_of(pi, env, "PLACE COLOUR MISSING", lines(told)) == [
        "PATH=/bin", "COLOUR=green", "COLOURS=many", 'Q="]é', "PLACE=shed",
    ]  # fmt: skip


def test_several_that_the_file_does_not_name_come_last(pi: Pi) -> None:
    told = lines({"A": "1", "B": "2", "C": "3"})
    found = environment_of(pi, ["PATH=/b"], "C A B", told)
    assert (found[0], sorted(found[1:])) == ("PATH=/b", ["A=1", "B=2", "C=3"])


def test_of_two_variables_of_one_name_the_last_one_is_replaced(pi: Pi) -> None:
    """runc gives the program the last one."""
    env = ["PATH=/b", "A=1", "A=2"]
    assert environment_of(pi, env, "A", lines({"A": "3"})) == ["PATH=/b", "A=1", "A=3"]


def test_what_the_card_does_not_say_stays(pi: Pi) -> None:
    assert environment_of(pi, ["PATH=/b", "A=1"], "A B", "") == ["PATH=/b", "A=1"]


@settings(max_examples=examples(20), deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])), st.text(' ]\\"{}a='))
def test_any_text_arrives_as_it_was_said(
    tmp_path_factory: pytest.TempPathFactory, value: str, other: str
) -> None:
    pi = new_pi(tmp_path_factory.mktemp("pi"))
    found = environment_of(pi, ["PATH=/b", f"O={other}"], "V", lines({"V": value}))
    assert found == ["PATH=/b", f"O={other}", f"V={value}"]


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("plain", "plain"),
        ("'a b'", "a b"),
        ('"a b"', "a b"),
        ("'it'\"'\"'s'", "it's"),
        ("'it'\\''s'", "it's"),
        ("'$(x) `y` \\ \"'", '$(x) `y` \\ "'),
        ("'a\tb'", "a\tb"),
        ("", ""),
        ("''", ""),
    ],
)
def test_a_value_is_read_as_a_shell_would(pi: Pi, word: str, value: str) -> None:
    assert environment_of(pi, ["PATH=/b"], "V", f"V={word}\n") == ["PATH=/b", f"V={value}"]


def test_of_two_lines_the_last_one_counts_and_comments_do_not(pi: Pi) -> None:
    text = "# V=0\nV=1\n  V=2\n\nW=3"
    assert environment_of(pi, ["PATH=/b"], "V W", text) == ["PATH=/b", "V=2", "W=3"]


@pytest.mark.parametrize(
    "word", ["$(touch RAN)", '"$(touch RAN)"', "`touch RAN`", "x;touch RAN", "x touch RAN",
             "'unended", '"unended', "$HOME", "x\\", "'x\r'"]
)  # fmt: skip
def test_a_line_that_is_more_than_a_value_is_named_and_not_run(pi: Pi, word: str) -> None:
    ran = pi.root / "ran"
    write_container(pi, settings=["V"])
    pi.write("data/piimage/provision/settings", f"V={word.replace('RAN', str(ran))}\n")
    done = configure(pi)
    assert done.returncode == 1
    assert not ran.exists()
    assert pi.console() == ["piimage: the card's setting V is not V='VALUE' on one line"]


def test_a_line_that_no_container_asks_for_is_not_run(pi: Pi) -> None:
    ran = pi.root / "ran"
    text = f"V=1\nW=$(touch {ran})\ntouch {ran}\n"
    assert environment_of(pi, ["PATH=/b"], "V", text) == ["PATH=/b", "V=1"]
    assert not ran.exists()


def test_the_copy_is_for_root_alone(pi: Pi) -> None:
    write_container(pi, settings=["A"], env=["PATH=/b"])
    pi.write("data/piimage/provision/settings", lines({"A": "it's $HOME `x`"}))
    folder, made = configured(pi)
    assert made["process"]["env"] == ["PATH=/b", "A=it's $HOME `x`"]
    assert folder == pi.root / "run/piimage/configured/services/web"
    assert (folder / "config.json").stat().st_mode & 0o077 == 0
    assert folder.stat().st_mode & 0o077 == 0


def test_no_setting_can_change_what_is_done(pi: Pi) -> None:
    told = {"IFS": "x", "PATH": "/nowhere", "REPLY": "/etc", "SETTINGS": "HOME", "HOME": "/x"}
    found = environment_of(pi, ["PATH=/b", "HOME=/"], "SETTINGS", lines(told))
    assert found == ["PATH=/b", "HOME=/", "SETTINGS=HOME"]


def test_who_asks_for_nothing_keeps_its_own_configuration(pi: Pi) -> None:
    write_container(pi)
    pi.write("data/piimage/provision/settings", lines({"A": "x"}))
    assert configured(pi)[0] == pi.root / "containers/services/web"


def test_values_for_the_scripts_are_read_and_not_run(pi: Pi) -> None:
    ran = pi.root / "ran"
    good = "# a comment\nPIIMAGE_SLOT='/a b'\nSELECTOR=1\n\nIFS_='it'\\''s'\n"
    bad = f"PIIMAGE_CONTAINERS='a'$(touch {ran})''\ntouch {ran}\nx=1\n"
    pi.write("run/piimage/boot", good + bad)
    libraries = "".join(f". {pi.root}/usr/lib/piimage/{name}; " for name in LIBRARIES)
    script = 'load_facts; echo "$PIIMAGE_SLOT|$SELECTOR|${PIIMAGE_CONTAINERS-none}|$IFS_|${x-none}"'
    assert pi.sh(libraries + script) == "/a b|1|none|it's|none\n"
    assert not ran.exists()
    complaint = f"piimage: {pi.root}/run/piimage/boot: a line is not KEY='VALUE'"
    assert pi.console() == [complaint] * 3
