from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from piimage.debian.index import Archive, Suite
from piimage.debian.request import Request
from piimage.debian.solver import Resolution, resolve
from piimage.debian.universe import Choice, Closure, Universe
from piimage.errors import ErrorGroup, InputError, PiimageError
from tests.unit.debian.makers import ArchiveFolder, Deb


class Solving:
    """Publishes packages and resolves requests against them."""

    def __init__(self, archive: Archive, folder: ArchiveFolder) -> None:
        self._archive = archive
        self._folder = folder
        self._suites: list[Suite] = []
        self._architectures: tuple[str, ...] = ("arm64",)

    def offer(
        self, *debs: Deb, suite: str = "trixie", automatic: bool = True,
        architectures: tuple[str, ...] = ("arm64",),
    ) -> None:  # fmt: skip
        self._folder.publish(debs, suite, architectures=architectures)
        self._suites.append(Suite(suite, automatic=automatic))
        self._architectures = architectures

    def resolve(self, *requests: Request, **options: object) -> Resolution:
        indexes = self._archive.indexes(self._suites, self._architectures)
        return resolve(indexes, requests, **options)  # type: ignore[arg-type]

    def __call__(self, *packages: str, without: Sequence[str] = ()) -> list[str]:
        """Return name and version of the packages that `packages` resolve to."""
        resolution = self.resolve(Request("root", packages, tuple(without)))
        return [f"{package.name} {package.version}" for package in resolution.roots["root"]]


@pytest.fixture
def solving(archive: Archive, folder: ArchiveFolder) -> Solving:
    return Solving(archive, folder)


def needing(name: str, depends: str, version: str = "1.0", **fields: str) -> Deb:
    own = {key.replace("_", "-").title(): value for key, value in fields.items()}
    return Deb(name, version, fields={"Depends": depends} | own)


def test_only_dependencies_are_followed(solving: Solving) -> None:
    solving.offer(
        needing("app", "lib (>= 1.0)", pre_depends="base", recommends="extra", suggests="more"),
        needing("lib", "deep:any"),
        *[Deb(name) for name in ("base", "deep", "extra", "more", "other")],
    )
    assert solving("app") == ["app 1.0", "base 1.0", "deep 1.0", "lib 1.0"]


def test_essential_packages_are_not_added_by_themselves(solving: Solving) -> None:
    solving.offer(Deb("app"), Deb("bash", fields={"Essential": "yes"}))
    assert solving("app") == ["app 1.0"]


def test_the_newest_version_in_debians_order_is_chosen(solving: Solving) -> None:
    solving.offer(Deb("app", "1.0~rc1"), Deb("app", "1.0"), Deb("app", "1.0~rc2"))
    solving.offer(Deb("app", "1.0-1~deb13u9"), suite="trixie-updates")
    assert solving("app") == ["app 1.0-1~deb13u9"]


@pytest.mark.parametrize(
    ("sign", "version", "chosen"),
    [("=", "1.10", "1.10"), ("<<", "1.10", "1.9+b2"), ("<=", "1.9", "1.9"), (">>", "1.9", "1.10"),
     (">=", "0:1.010", "1.10"), ("<<", "1.9", "1.9~a")],
)  # fmt: skip
def test_each_sign_has_the_meaning_of_the_policy(
    solving: Solving, sign: str, version: str, chosen: str
) -> None:
    versions = ("1.9~a", "1.9", "1.9+b2", "1.10")
    solving.offer(needing("app", f"lib ({sign} {version})"), *[Deb("lib", v) for v in versions])
    assert solving("app") == ["app 1.0", f"lib {chosen}"]


def test_the_first_alternative_is_preferred_whatever_its_name(solving: Solving) -> None:
    solving.offer(needing("app", "zeta | alpha"), Deb("alpha"), Deb("zeta"))
    assert solving("app") == ["app 1.0", "zeta 1.0"]


def test_the_preferences_of_a_version_that_is_not_chosen_do_not_count(solving: Solving) -> None:
    solving.offer(needing("app", "alpha | zeta", "1.0"), Deb("alpha"), Deb("zeta"))
    solving.offer(needing("app", "zeta | alpha", "2.0"), suite="new", automatic=False)
    assert solving("app") == ["alpha 1.0", "app 1.0"]
    assert solving("app/new") == ["app 2.0", "zeta 1.0"]


def test_an_alternative_that_is_needed_anyway_is_preferred(solving: Solving) -> None:
    solving.offer(
        needing("app", "zeta | alpha"), needing("other", "alpha"), Deb("alpha"), Deb("zeta")
    )
    assert "alpha 1.0" in solving("app", "other")


def test_a_later_alternative_is_chosen_if_the_first_is_not_installable(solving: Solving) -> None:
    solving.offer(
        needing("app", "gone | zeta | alpha"), needing("zeta", "nowhere"), Deb("alpha"),
    )  # fmt: skip
    assert solving("app") == ["alpha 1.0", "app 1.0"]


def test_providers_are_chosen_by_debians_priority_then_by_name(solving: Solving) -> None:
    provides = {"Provides": "awk"}
    solving.offer(
        needing("app", "awk"),
        Deb("bwk", fields=provides),
        Deb("awk-a", fields=provides),
        Deb("mawk", fields=provides | {"Priority": "required"}),
    )
    assert solving("app") == ["app 1.0", "mawk 1.0"]


def test_equal_providers_are_chosen_by_name(solving: Solving) -> None:
    provides = {"Provides": "mta"}
    solving.offer(needing("app", "mta"), Deb("z", fields=provides), Deb("b", fields=provides))
    assert solving("app") == ["app 1.0", "b 1.0"]


def test_a_provided_version_satisfies_and_an_unversioned_one_does_not(solving: Solving) -> None:
    solving.offer(
        needing("app", "virt (>= 2)"),
        Deb("bare", fields={"Provides": "virt"}),
        Deb("versed", fields={"Provides": "virt (= 2.5)"}),
    )
    assert solving("app") == ["app 1.0", "versed 1.0"]


def test_a_package_may_conflict_with_the_name_that_it_provides(solving: Solving) -> None:
    both = {"Provides": "mta", "Conflicts": "mta"}
    solving.offer(Deb("postfix", fields=both))
    assert solving("postfix") == ["postfix 1.0"]


@pytest.mark.provokes("debian.conflict")
def test_a_conflict_is_explained_in_words(solving: Solving) -> None:
    both = {"Provides": "mta", "Conflicts": "mta"}
    solving.offer(needing("app", "exim"), Deb("exim", fields=both), Deb("postfix", fields=both))
    with pytest.raises(PiimageError) as caught:
        solving("app", "postfix")
    start, *sentences = re.split(": |; ", str(caught.value))
    assert start == "root"
    assert sentences[0] == "these packages cannot be installed together"
    assert set(sentences[1:3]) == {
        "app 1.0 depends on exim", "exim 1.0 conflicts with mta (postfix 1.0)",
    }  # fmt: skip
    assert sentences[3].startswith("leave one of them out")


@pytest.mark.provokes("debian.conflict")
def test_two_versions_of_one_package_are_explained(solving: Solving) -> None:
    solving.offer(
        needing("old", "lib (<< 2)"), needing("new", "lib (>= 2)"), Deb("lib"), Deb("lib", "2.0")
    )
    with pytest.raises(PiimageError) as caught:
        solving("old", "new")
    text = caught.value.message
    assert re.search(r"lib [12]\.0 and lib [12]\.0 are two versions of one package", text)
    assert "new 1.0 depends on lib (>= 2)" in text


@pytest.mark.provokes("debian.conflict")
def test_a_broken_package_is_explained(solving: Solving) -> None:
    solving.offer(Deb("app"), Deb("other", fields={"Breaks": "app (<< 2)"}))
    with pytest.raises(PiimageError, match=r"other 1\.0 conflicts with app \(<< 2\) \(app 1\.0\)"):
        solving("app", "other")


@pytest.mark.provokes("debian.conflict")
def test_a_missing_dependency_is_explained(solving: Solving) -> None:
    solving.offer(needing("app", "lib (>= 2:2.0-1)"), Deb("lib"))
    with pytest.raises(PiimageError, match=r"app 1\.0 depends on lib \(>= 2:2\.0-1\), which"):
        solving("app")


def test_conflicts_between_roots_do_not_matter(solving: Solving) -> None:
    both = {"Provides": "mta", "Conflicts": "mta"}
    solving.offer(Deb("exim", fields=both), Deb("postfix", fields=both))
    resolution = solving.resolve(Request("one", ("exim",)), Request("two", ("postfix",)))
    assert [package.name for package in resolution.packages] == ["exim", "postfix"]


def test_what_is_left_out_counts_as_there_with_what_it_provides(solving: Solving) -> None:
    solving.offer(
        needing("app", "debconf (>= 9) | debconf-2.0, debconf-2.0, lib"),
        needing("lib", "perl-base"),
        needing("debconf", "perl-base", provides="debconf-2.0"),
        Deb("cdebconf", fields={"Provides": "debconf-2.0"}),
        Deb("perl-base"),
    )
    assert solving("app", without=["debconf", "perl-base"]) == ["app 1.0", "lib 1.0"]


def test_what_is_asked_for_is_not_left_out(solving: Solving) -> None:
    solving.offer(needing("app", "lib"), Deb("lib"))
    assert solving("app", "lib", without=["lib"]) == ["app 1.0", "lib 1.0"]


def test_backports_give_only_what_is_named_and_what_that_needs(solving: Solving) -> None:
    solving.offer(needing("kernel", "tools"), Deb("tools"), Deb("other"))
    solving.offer(
        needing("kernel", "tools (>= 2)", "7.0~bpo"),
        Deb("tools", "2.0~bpo"), Deb("tools", "2.0"), Deb("other", "2.0~bpo"),
        suite="trixie-backports", automatic=False,
    )  # fmt: skip
    assert solving("kernel", "other") == ["kernel 1.0", "other 1.0", "tools 1.0"]
    assert solving("kernel/trixie-backports", "other") == [
        "kernel 7.0~bpo", "other 1.0", "tools 2.0",
    ]  # fmt: skip


def test_a_version_can_be_requested(solving: Solving) -> None:
    solving.offer(Deb("app", "1:1.0"), Deb("app", "2:1.0"))
    assert solving("app=1:1.0") == ["app 1:1.0"]


def test_one_version_is_used_in_all_roots(solving: Solving) -> None:
    solving.offer(
        needing("old", "lib (<< 2)"), needing("any", "lib"), Deb("lib", "1.0"), Deb("lib", "2.0")
    )
    resolution = solving.resolve(
        Request("a", ("old",)), Request("b", ("any",)), Request("c", ("lib",))
    )
    assert [str(package) for package in resolution.packages] == [
        "any 1.0 (arm64)", "lib 1.0 (arm64)", "old 1.0 (arm64)",
    ]  # fmt: skip


def test_the_newest_version_that_suits_all_roots_is_chosen(solving: Solving) -> None:
    solving.offer(
        needing("app", "lib"),
        needing("tool", "lib (= 1.0) | other"),
        Deb("lib", "1.0"),
        Deb("lib", "2.0"),
        Deb("other"),
    )
    resolution = solving.resolve(Request("a", ("app",)), Request("b", ("tool",)))
    chosen = {
        root: [f"{package.name} {package.version}" for package in packages]
        for root, packages in resolution.roots.items()
    }
    assert chosen == {"a": ["app 1.0", "lib 2.0"], "b": ["other 1.0", "tool 1.0"]}


def test_the_package_that_fewer_alternatives_precede_is_preferred(solving: Solving) -> None:
    conflicting = Deb("first", fields={"Conflicts": "second"})
    third = Deb("third")
    solving.offer(
        needing("app", "first | second, second | third"), conflicting, Deb("second"), third
    )
    assert solving("app") == ["app 1.0", "first 1.0", "third 1.0"]


@pytest.mark.provokes("debian.two-versions")
def test_roots_that_need_different_versions_are_an_error(solving: Solving) -> None:
    solving.offer(
        needing("old", "lib (<< 2)"), needing("new", "lib (>= 2)"), Deb("lib", "1.0"),
        Deb("lib", "2.0"),
    )  # fmt: skip
    with pytest.raises(InputError, match="different versions of lib"):
        solving.resolve(Request("a", ("old",)), Request("b", ("new",)))
    with pytest.raises(InputError, match="different versions of lib"):
        solving.resolve(Request("a", ("lib=1.0",)), Request("b", ("lib=2.0",)))


def test_architectures_are_resolved_separately_but_share_packages_for_all(solving: Solving) -> None:
    solving.offer(
        needing("app", "lib, data"), replace(needing("tool", "lib, data"), architecture="amd64"),
        Deb("lib"), Deb("lib", architecture="amd64"), Deb("data", architecture="all"),
        architectures=("arm64", "amd64"),
    )  # fmt: skip
    resolution = solving.resolve(
        Request("system", ("app",)), Request("host", ("tool",), architecture="amd64")
    )
    assert [package.key for package in resolution.packages] == [
        "app:arm64", "data:all", "lib:amd64", "lib:arm64", "tool:amd64",
    ]  # fmt: skip
    assert [package.key for package in resolution.roots["host"]] == [
        "data:all", "lib:amd64", "tool:amd64",
    ]  # fmt: skip


@pytest.mark.provokes("debian.unknown-package")
def test_a_package_of_another_architecture_is_unknown(solving: Solving) -> None:
    solving.offer(Deb("app"), Deb("tool", architecture="amd64"), architectures=("arm64", "amd64"))
    with pytest.raises(InputError, match="no package tool for arm64"):
        solving("tool")


def test_a_dependency_on_another_architecture_cannot_be_met(solving: Solving) -> None:
    solving.offer(needing("app", "lib:amd64"), Deb("lib"))
    with pytest.raises(PiimageError, match="lib:amd64"):
        solving("app")


@pytest.mark.provokes("debian.unknown-package", "debian.unknown-version", "debian.virtual-package")
def test_all_invalid_requests_are_reported_at_once(solving: Solving) -> None:
    solving.offer(Deb("busybox-static"), Deb("mawk", fields={"Provides": "awk"}), Deb("app"))
    with pytest.raises(ErrorGroup) as caught:
        solving("busybox-statc", "awk", "app=2.0", "app/sid", "zzz")
    text = str(caught.value)
    assert "did you mean busybox-static?" in text
    assert "request a package that provides it: mawk" in text
    assert "the archive does not have app in 2.0; it has 1.0 (trixie)" in text
    assert "the archive does not have app in sid" in text
    assert "no package zzz for arm64; check the name" in text
    assert caught.value.exit_code == 2


@pytest.mark.provokes("debian.bad-request")
@pytest.mark.parametrize("text", ["", "a b", "a=", "a/", "a|b", "=1", "a (>= 1)"])
def test_text_that_is_not_a_package_name_is_refused(solving: Solving, text: str) -> None:
    solving.offer(Deb("a"))
    with pytest.raises(InputError, match="name, name=version or name/suite"):
        solving(text)


def test_a_preferred_version_is_kept_if_the_dependencies_permit(solving: Solving) -> None:
    solving.offer(
        needing("app", "lib"), needing("new", "lib (>= 2)"), Deb("lib", "1.0"), Deb("lib", "2.0")
    )
    pins = {"lib:arm64": "1.0"}
    kept = solving.resolve(Request("root", ("app",)), preferred=pins)
    moved = solving.resolve(Request("root", ("app", "new")), preferred=pins)
    assert [package.version for package in kept.packages] == ["1.0", "1.0"]
    assert [package.version for package in moved.packages] == ["1.0", "2.0", "1.0"]


@pytest.mark.slow
def test_the_order_of_the_index_does_not_matter(solving: Solving, folder: ArchiveFolder) -> None:
    provides = {"Provides": "virt"}
    debs = [
        needing("app", "virt, z | y, x (>= 1)"), Deb("p", fields=provides),
        Deb("q", fields=provides), Deb("y"), Deb("z"), Deb("x", "1.0"), Deb("x", "1.0+b1"),
    ]  # fmt: skip
    resolutions = set()
    for seed in range(6):
        random.Random(seed).shuffle(debs)
        folder.publish(debs)
        solving._suites = [Suite("trixie")]
        resolutions.add(tuple(solving("app")))
    assert resolutions == {("app 1.0", "p 1.0", "x 1.0+b1", "z 1.0")}


@pytest.mark.provokes("debian.index-damaged")
def test_the_error_of_a_broken_relation_names_its_package(solving: Solving) -> None:
    solving.offer(needing("app", "lib (="))
    with pytest.raises(PiimageError, match=r"app 1\.0: 'lib \(='"):
        solving("app")


@pytest.mark.provokes("debian.unknown-package")
def test_three_names_are_suggested_at_most(solving: Solving) -> None:
    solving.offer(*[Deb(f"linux-image-{name}-cloud-arm64") for name in "abcd"])
    with pytest.raises(InputError) as caught:
        solving("linux-image")
    names = [f"linux-image-{name}-cloud-arm64" for name in "abc"]
    assert caught.value.hint == f"did you mean {' or '.join(names)}?"


def test_versions_that_may_not_be_chosen_are_not_looked_at(
    solving: Solving, archive: Archive
) -> None:
    solving.offer(needing("app", "lib"), needing("app", "other", "2.0"), Deb("lib"), Deb("other"))
    indexes = archive.indexes([Suite("trixie")], ["arm64"])
    with Universe(indexes, "arm64", {}) as universe:
        closure = Closure(universe, {"app": Choice("1.0")}, frozenset())
        closure.grow(["app"])
        assert [str(candidate) for candidate in closure.candidates] == ["app 1.0", "lib 1.0"]
        assert list(closure.names) == ["app", "lib"]


def test_circular_dependencies_are_resolved(solving: Solving) -> None:
    solving.offer(needing("a", "b"), needing("b", "c"), needing("c", "a (= 1.0)"))
    assert solving("a") == ["a 1.0", "b 1.0", "c 1.0"]
