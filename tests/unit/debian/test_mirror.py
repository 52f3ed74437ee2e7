from __future__ import annotations

from pathlib import Path

import pytest

from piimage.debian import mirror
from piimage.errors import InputError

DEBIAN = 'ID=debian\nVERSION_CODENAME="bookworm"\n'
DEB822 = """\
# comment
Types: deb
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
"""


def host(tmp_path: Path, release: str = DEBIAN, **files: str) -> Path:
    apt = tmp_path / "etc/apt"
    (apt / "sources.list.d").mkdir(parents=True)
    (tmp_path / "etc/os-release").write_text(release)
    for name, text in files.items():
        place = apt if name == "sources_list" else apt / "sources.list.d"
        (place / name.replace("_", ".")).write_text(text)
    return tmp_path


def urls(mirrors: mirror.Mirrors) -> tuple[str, str]:
    return mirrors.main.url, mirrors.security.url


def test_both_archives_are_found_in_deb822_sources(tmp_path: Path) -> None:
    mirrors = mirror.choose(None, host(tmp_path, debian_sources=DEB822))
    assert urls(mirrors) == (
        "http://mirror.example/debian",
        "http://mirror.example/debian-security",
    )


def test_both_archives_are_found_in_one_line_sources(tmp_path: Path) -> None:
    text = (
        "# deb http://old.example/debian bookworm main\n"
        "deb-src http://src.example/debian bookworm main\n"
        "deb [arch=amd64 signed-by=/k.gpg] http://a.example/debian bookworm main contrib # here\n"
        "deb http://s.example/security/ bookworm-security main\n"
    )
    mirrors = mirror.choose(None, host(tmp_path, sources_list=text))
    assert urls(mirrors) == ("http://a.example/debian", "http://s.example/security")


def test_a_vendors_archive_with_debians_code_name_is_not_used(tmp_path: Path) -> None:
    vendor = "deb http://vendor.example/debian bookworm main\n"
    mirrors = mirror.choose(None, host(tmp_path, sources_list=vendor, debian_sources=DEB822))
    assert mirrors.main.url == "http://mirror.example/debian"


def test_a_disabled_source_is_not_used(tmp_path: Path) -> None:
    text = "Enabled: no\n" + DEB822.replace("# comment\n", "").replace("mirror", "off")
    mirrors = mirror.choose(None, host(tmp_path, a_sources=text, b_sources=DEB822))
    assert mirrors.main.url == "http://mirror.example/debian"


@pytest.mark.parametrize(
    ("word", "used"),
    [("no", 0), ("No", 0), ("false", 0), ("off", 0), ("0", 0), ("yes", 1), ("true", 1), ("1", 1)],
)
def test_a_source_is_used_unless_it_says_no(tmp_path: Path, word: str, used: int) -> None:
    """sources.list(5): Enabled is yes by default."""
    text = f"Enabled: {word}\n" + DEB822.replace("# comment\n", "").replace("mirror", "own")
    mirrors = mirror.choose(None, host(tmp_path, a_sources=text, b_sources=DEB822))
    assert mirrors.main.url == f"http://{('mirror', 'own')[used]}.example/debian"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        # Debian's keyring tells more than the name of the folder,
        (
            "deb http://a.example/debian bookworm main",
            "deb [signed-by=debian-archive] http://b.example/x bookworm main",
        ),
        # and updates tell more than both.
        (
            "deb [signed-by=debian-archive] http://a.example/debian bookworm main",
            "deb http://b.example/x bookworm main\ndeb http://b.example/x bookworm-updates main",
        ),
        ("deb http://a.example/x bookworm main", "deb http://b.example/debian bookworm main"),
        (
            "deb http://a.example/x bookworm main",
            "deb http://b.example/debian-security/ bookworm main",
        ),
    ],
)
def test_what_speaks_for_debians_own_archive(tmp_path: Path, first: str, second: str) -> None:
    mirrors = mirror.choose(None, host(tmp_path, sources_list=f"{first}\n{second}\n"))
    assert mirrors.main.url.startswith("http://b.example/")


@pytest.mark.parametrize("suite", ["bookworm", "bookworm-updates", "bookworm-backports"])
def test_each_suite_of_the_main_archive_tells_where_it_is(tmp_path: Path, suite: str) -> None:
    text = f"deb http://a.example/debian trixie main\ndeb http://b.example/debian {suite} main\n"
    mirrors = mirror.choose(None, host(tmp_path, sources_list=text))
    assert mirrors.main.url == "http://b.example/debian"


def test_what_apt_cannot_read_does_not_hide_the_rest(tmp_path: Path) -> None:
    text = " a continuation\n\n" + DEB822
    mirrors = mirror.choose(None, host(tmp_path, debian_sources=text))
    assert mirrors.main.url == "http://mirror.example/debian"


def test_the_archives_of_this_host_are_the_default() -> None:
    try:
        found = mirror.choose(None)
    except InputError as error:
        assert error.code == "debian.no-mirror"
    else:
        assert found == mirror.choose(None, Path("/"))


@pytest.mark.parametrize(
    "uri", ["mirror+file:/x/list", "mirror+file:///x/list", "mirror:file:/x/list"]
)
def test_each_form_of_a_mirror_list_is_read(tmp_path: Path, uri: str) -> None:
    text = DEB822.replace("http://mirror.example/debian/", uri)
    root = host(tmp_path, debian_sources=text)
    (root / "x").mkdir()
    (root / "x/list").write_text("https://cloud.example/debian\n")
    assert mirror.choose(None, root).main.url == "https://cloud.example/debian"


def test_the_list_of_a_mirror_file_uri_is_read(tmp_path: Path) -> None:
    text = DEB822.replace("http://mirror.example/debian/", "mirror+file:///etc/apt/mirrors.list")
    root = host(tmp_path, debian_sources=text)
    (root / "etc/apt/mirrors.list").write_text("# ours\nhttps://cloud.example/debian priority:1\n")
    assert mirror.choose(None, root).main.url == "https://cloud.example/debian"


def test_the_default_security_archive_is_the_sibling_folder(tmp_path: Path) -> None:
    text = DEB822.partition("\n\n")[0]
    mirrors = mirror.choose(None, host(tmp_path, debian_sources=text))
    assert mirrors.security.url == "http://mirror.example/debian-security"


@pytest.mark.provokes("debian.no-mirror")
@pytest.mark.parametrize("release", ["ID=fedora\n", "ID=ubuntu\nVERSION_CODENAME=noble\n", ""])
def test_a_host_that_is_not_debian_must_name_a_mirror(tmp_path: Path, release: str) -> None:
    with pytest.raises(InputError, match="--mirror"):
        mirror.choose(None, host(tmp_path, release, debian_sources=DEB822))


@pytest.mark.provokes("debian.no-mirror")
def test_a_debian_host_without_sources_must_name_a_mirror(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="do not name a Debian archive"):
        mirror.choose(None, host(tmp_path))


@pytest.mark.parametrize(
    ("explicit", "main", "security"),
    [
        ("http://m.example/debian/", "http://m.example/debian", "http://m.example/debian-security"),
        ("http://m.example/d", "http://m.example/d", "http://m.example/d"),
        ("http://a.example/x, https://b.example/y", "http://a.example/x", "https://b.example/y"),
        ("/srv/mirror", "file:///srv/mirror", "file:///srv/mirror"),
    ],
)
def test_the_users_choice_comes_first(
    tmp_path: Path, explicit: str, main: str, security: str
) -> None:
    mirrors = mirror.choose(explicit, host(tmp_path, debian_sources=DEB822))
    assert urls(mirrors) == (main, security)


def test_the_security_suite_has_the_security_archive() -> None:
    mirrors = mirror.choose("http://a.example/x,http://b.example/y")
    assert mirrors.of("trixie-security").url == "http://b.example/y"
    assert mirrors.of("trixie-updates").url == "http://a.example/x"


@pytest.mark.provokes("debian.bad-mirror")
@pytest.mark.parametrize(
    "explicit",
    ["ftp://a.example/debian", "debian", "http://", "http://a:b/debian", "http://a/?x=y"],
)
def test_an_invalid_url_is_refused(explicit: str) -> None:
    with pytest.raises(InputError, match="is not the URL"):
        mirror.choose(explicit)


@pytest.mark.provokes("debian.bad-mirror")
def test_a_password_is_never_shown() -> None:
    archive = mirror.root("https://me:secret@a.example/debian")
    assert str(archive) == "https://a.example/debian"
    assert "secret" not in repr(archive)
    with pytest.raises(InputError) as caught:
        mirror.root("htps://me:secret@a.example/debian")
    assert "secret" not in str(caught.value)
