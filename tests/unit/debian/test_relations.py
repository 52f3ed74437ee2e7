from __future__ import annotations

import pytest
from debian.deb822 import PkgRelation
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.debian.relations import Relation, parse


def test_alternatives_and_versions_are_read() -> None:
    assert parse("libc6 (>= 2.41), debconf (>= 0.5) | debconf-2.0", "arm64") == (
        (Relation("libc6", ">=", "2.41"),),
        (Relation("debconf", ">=", "0.5"), Relation("debconf-2.0")),
    )


@pytest.mark.parametrize("qualifier", ["any", "native", "arm64"])
def test_a_qualifier_that_holds_in_one_architecture_is_dropped(qualifier: str) -> None:
    assert parse(f"python3:{qualifier}", "arm64") == ((Relation("python3"),),)


def test_a_package_of_another_architecture_gets_a_name_that_nothing_bears() -> None:
    assert parse("wine:i386", "arm64") == ((Relation("wine:i386"),),)


def test_the_obsolete_signs_mean_or_equal() -> None:
    assert parse("a (< 2), b (> 2)", "arm64") == (
        (Relation("a", "<=", "2"),),
        (Relation("b", ">=", "2"),),
    )


@pytest.mark.parametrize("bad", ["a (>= )", "a b", "(>= 1)", "a (== 1)", "a |", "é"])
def test_what_is_no_relation_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="is no relation"):
        parse(bad, "arm64")


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab1+.-:()<>=~|, \n", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse(text, "arm64")
    except ValueError:
        return


def test_python_debian_reads_the_same() -> None:
    field = "a (>= 1:2-3), b | c (<< 2~), d (= 1), e (>> 0) | f (<= 9)"
    theirs = [
        [(alt["name"], *(alt["version"] or ("", ""))) for alt in group]
        for group in PkgRelation.parse_relations(field)
    ]
    ours = [[(alt.name, alt.sign, alt.version) for alt in g] for g in parse(field, "arm64")]
    assert ours == theirs
