from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.testing.report import Outcome, failures, junit, save
from tests.examples import examples

OUTCOMES = (
    Outcome("service a is up", 1.25),
    Outcome('a "quoted" <check> & more', 2.0, failure="first line\n<second> & last"),
    Outcome("not tried", 0.0, skipped="a service is not up"),
)


def test_the_report_counts_and_names_what_was_found() -> None:
    suite = ET.fromstring(junit("pi4", OUTCOMES))
    assert suite.attrib == {
        "name": "pi4", "tests": "3", "failures": "1", "errors": "0", "skipped": "1",
        "time": "3.250",
    }  # fmt: skip
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == [outcome.name for outcome in OUTCOMES]
    assert [case.get("time") for case in cases] == ["1.250", "2.000", "0.000"]
    failure = cases[1].find("failure")
    assert failure is not None
    assert failure.get("message") == "first line"
    assert failure.text == "first line\n<second> & last"
    skipped = cases[2].find("skipped")
    assert skipped is not None
    assert skipped.get("message") == "a service is not up"


@settings(max_examples=examples(60), deadline=None)
@given(st.text(), st.text(), st.text())
def test_whatever_a_service_prints_the_report_is_xml(suite: str, name: str, why: str) -> None:
    text = junit(suite, [Outcome(name, 0.0, failure=why), Outcome(name, 0.0, skipped=why)])
    found = ET.fromstring(text.encode("utf-8"))
    assert len(found.findall("testcase")) == 2
    assert len(found.findall("testcase/failure")) == 1


def test_what_failed_is_told_below_its_name() -> None:
    assert OUTCOMES[0].line == "passed   service a is up (1.2 s)"
    assert OUTCOMES[1].line.splitlines()[1:] == ["    first line", "    <second> & last"]
    assert OUTCOMES[2].line == "skipped  not tried: a service is not up"
    assert failures(OUTCOMES) == (OUTCOMES[1],)


def test_a_report_is_written_whole_and_its_folder_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.xml"
    save(path, "one")
    save(path, "two")
    assert path.read_text() == "two"
    assert [entry.name for entry in path.parent.iterdir()] == ["report.xml"]
