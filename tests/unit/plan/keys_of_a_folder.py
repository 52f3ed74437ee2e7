"""The keys of a service.yml, each with two files that differ in it."""

from __future__ import annotations

from collections.abc import Mapping

from .file_makers import Change
from .outcomes import Data


def tree(**fields: object) -> Data:
    return {"name": "f", "packages": ["busybox-static"], "entrypoint": ["/bin/x"], **fields}


def user(**fields: object) -> Data:
    return tree(users=[{"name": "u", "uid": 1, "gid": 1, **fields}])


def group(**fields: object) -> Data:
    return tree(groups=[{"name": "g", "gid": 1, **fields}])


def applets(**fields: object) -> Data:
    return tree(applets={"program": "x", "folder": "y", "names": "a", **fields})


def made_folder(**fields: object) -> Data:
    return tree(folders=[{"path": "x", **fields}])


def laid(**fields: object) -> Data:
    return tree(files=[{"path": "x", "contents": "y", **fields}])


F = tree()


SERVICE: Mapping[str, Mapping[str, Change]] = {
    "Service": {
        "base": (F, tree(base="python")),
        "packages": (F, tree(packages=["bash"])),
        "without": (F, tree(without=["x1"])),
        "drop": (F, tree(drop=["x"])),
        "keep": (tree(drop=["x"]), tree(drop=["x"], keep=["x/y"])),
        "users": (F, user()),
        "groups": (F, group()),
        "links": (F, tree(links={"a": "b"})),
        "applets": (F, applets()),
        "folders": (F, made_folder()),
        "files": (F, laid()),
        "certificates": (F, tree(certificates=True)),
        "name": (F, tree(name="g")),
        "entrypoint": (F, tree(entrypoint=["/bin/y"])),
        "cmd": (F, tree(cmd=["z"])),
        "user": (F, tree(user="5:5")),
        "env": (F, tree(env=["A=b"])),
        "cwd": (F, tree(cwd="/x")),
        "health": (F, tree(health={"tcp": "a:1"})),
        "restart": (F, tree(restart="no")),
        "config": (F, tree(config={"readonly": False})),
    },
    "User": {
        name: (user(), user(**{name: value}))
        for name, value in (
            ("name", "v"), ("uid", 2), ("gid", 2), ("gecos", "x"), ("home", "/x"), ("shell", "/x"),
            ("shadow", False), ("password", "x"),
        )
    },
    "Group": {
        name: (group(), group(**{name: value}))
        for name, value in (("name", "h"), ("gid", 2), ("members", ["u"]))
    },
    "Applets": {
        name: (applets(), applets(**{name: value}))
        for name, value in (("program", "z"), ("folder", "z"), ("names", "a b"))
    },
    "TreeFolder": {
        name: (made_folder(), made_folder(**{name: value}))
        for name, value in (("path", "y"), ("mode", "0700"), ("uid", 5), ("gid", 5))
    },
    "TreeFile": {
        "source": (
            tree(files=[{"path": "x", "source": "one.txt"}]),
            tree(files=[{"path": "x", "source": "two.txt"}]),
        ),
        **{
            name: (laid(), laid(**{name: value}))
            for name, value in (
                ("path", "z"), ("contents", "z"), ("mode", "0600"), ("uid", 5), ("gid", 5),
            )
        },
    },
}  # fmt: skip


SERVICE_ELSEWHERE: Mapping[str, str] = {
    "license": "tests/unit/pkg: the image's label",
    "wheels": "tests/unit/locking/test_wheels.py",
    "sources": "tests/unit/locking/test_wheels.py",
    "python": "tests/unit/compose/test_python.py",
}
