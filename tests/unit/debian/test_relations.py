from __future__ import annotations

import pytest
from debian.deb822 import PkgRelation
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.debian.relations import Relation, parse
from tests.examples import examples


def test_alternatives_and_versions_are_parsed() -> None:
    assert parse("libc6 (>= 2.41), debconf (>= 0.5) | debconf-2.0", "arm64") == (
        (Relation("libc6", ">=", "2.41"),),
        (Relation("debconf", ">=", "0.5"), Relation("debconf-2.0")),
    )


@pytest.mark.parametrize("qualifier", ["any", "native", "arm64"])
def test_a_qualifier_for_the_same_architecture_is_dropped(qualifier: str) -> None:
    assert parse(f"python3:{qualifier}", "arm64") == ((Relation("python3"),),)


def test_a_package_of_another_architecture_keeps_it_in_its_name() -> None:
    assert parse("wine:i386", "arm64") == ((Relation("wine:i386"),),)


def test_the_obsolete_signs_mean_or_equal() -> None:
    assert parse("a (< 2), b (> 2)", "arm64") == (
        (Relation("a", "<=", "2"),),
        (Relation("b", ">=", "2"),),
    )


@pytest.mark.parametrize("bad", ["a (>= )", "a b", "(>= 1)", "a (== 1)", "a |", "é"])
def test_text_that_is_not_a_relation_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="is not a relation"):
        parse(bad, "arm64")


@settings(max_examples=examples(200), deadline=None)
@given(st.text(alphabet="ab1+.-:()<>=~|, \n", max_size=40))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        parse(text, "arm64")
    except ValueError:
        return


def test_python_debian_parses_the_same() -> None:
    field = "a (>= 1:2-3), b | c (<< 2~), d (= 1), e (>> 0) | f (<= 9)"
    theirs = [
        [(alt["name"], *(alt["version"] or ("", ""))) for alt in group]
        for group in PkgRelation.parse_relations(field)
    ]
    ours = [[(alt.name, alt.sign, alt.version) for alt in g] for g in parse(field, "arm64")]
    assert ours == theirs
