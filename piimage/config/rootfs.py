"""Trees as data: the fields that appliance/system/*.yml and service.yml files share.

The fields and their order are described in appliance/README.md, "Trees as data".
"""

from typing import Annotated, Final, Self

from pydantic import BeforeValidator, Field, model_validator

from piimage.config.values import (
    TEXT_OR_LIST,
    AbsolutePath,
    Mode,
    PackageName,
    Part,
    PathInRoot,
    Strings,
    form,
    problem,
)

_MOST: Final = 2**32 - 2

Number = Annotated[int, Field(ge=0, le=_MOST)]
AccountName = Annotated[
    str, *form(r"[a-z_][a-z0-9_-]{0,31}", "account name", "a name in lower case, such as sensor")
]
PasswordField = Annotated[
    str, *form(r"[^:\s]+", "password field", "* or a hash of crypt(5), never a password")
]
Gecos = Annotated[str, *form(r"[^:\n]*", "comment", "text without ':'")]


class User(Part):
    """A user: a line of /etc/passwd and one of /etc/shadow."""

    name: AccountName = Field(description="Login name.")
    uid: Number = Field(description="User id.")
    gid: Number = Field(description="Group id.")
    gecos: Gecos = Field(default="", description="Comment.")
    home: AbsolutePath = Field(
        default="/nonexistent", description="Home folder; it is not created."
    )
    shell: AbsolutePath = Field(default="/usr/sbin/nologin", description="Login shell.")
    shadow: bool = Field(default=True, description="false: no line in /etc/shadow.")
    password: PasswordField = Field(
        default="*", description="Password field of /etc/shadow: * for no password, or a hash."
    )


class Group(Part):
    """A group: a line of /etc/group."""

    name: AccountName = Field(description="Group name.")
    gid: Number = Field(description="Group id.")
    members: tuple[AccountName, ...] = Field(default=(), description="Members by name.")


def _words(value: object) -> object:
    return value.split() if isinstance(value, str) else value


class Applets(Part):
    """Links to one program that acts by the name of the link, such as busybox."""

    program: PathInRoot = Field(description="The program, such as usr/bin/busybox.")
    folder: PathInRoot = Field(description="Folder of the links.")
    names: Annotated[Strings, BeforeValidator(_words), TEXT_OR_LIST] = Field(
        description="Names of the links, separated by blanks or as a list."
    )


class TreeFolder(Part):
    """A folder that is created, even if it stays empty."""

    path: PathInRoot = Field(description="Path in the tree.")
    mode: Mode = Field(default="0755", description="Permission bits, octal.")
    uid: Number = Field(default=0, description="Owner.")
    gid: Number = Field(default=0, description="Group.")

    @property
    def permissions(self) -> int:
        """The mode as a number."""
        return int(self.mode, 8)


class TreeFile(Part):
    """A file, or a folder of files, added to the tree."""

    path: PathInRoot = Field(description="Path in the tree.")
    source: str | None = Field(
        default=None, description="File or folder to copy, relative to this YAML file."
    )
    contents: str | None = Field(default=None, description="The file's text.")
    mode: Mode | None = Field(default=None, description="Permission bits, octal; 0644 if left out.")
    uid: Number = Field(default=0, description="Owner.")
    gid: Number = Field(default=0, description="Group.")

    @model_validator(mode="after")
    def _one_content(self) -> Self:
        if (self.source is None) == (self.contents is None):
            raise problem("a file with both source and contents, or neither", "one of the two")
        return self

    @property
    def permissions(self) -> int:
        """The mode as a number."""
        return int(self.mode or "0644", 8)


class RootFileSystem(Part):
    """A tree: packages, unpacked and pruned, and files that are added to them."""

    base: str | None = Field(default=None, description="Name of a shared lower tree.")
    packages: tuple[PackageName, ...] = Field(
        default=(), description="Debian packages; their dependencies are added."
    )
    without: tuple[PackageName, ...] = Field(
        default=(), description="Packages to remove, with the dependencies that only they need."
    )
    drop: Strings = Field(
        default=(),
        description="Globs of paths to remove; * matches within a folder, ** across folders.",
    )
    keep: Strings = Field(
        default=(), description="Globs of paths to keep, although `drop` matches them."
    )
    users: tuple[User, ...] = Field(default=(), description="Users of /etc/passwd.")
    groups: tuple[Group, ...] = Field(default=(), description="Groups of /etc/group.")
    links: dict[str, str] = Field(default={}, description="Symbolic links: PATH: TARGET.")
    applets: Applets | None = Field(default=None, description="Links to one program.")
    folders: tuple[TreeFolder, ...] = Field(default=(), description="Folders to create.")
    files: tuple[TreeFile, ...] = Field(default=(), description="Files to add to the packages.")
    certificates: bool = Field(
        default=False, description="Join the certificates of ca-certificates into one bundle."
    )
