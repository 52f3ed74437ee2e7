"""What no single value shows of files that a file names: on this computer, and on the Pi."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from piimage.config.laid import misplaced, normal_path
from piimage.config.lookup import maps, node_at, scalar, scalars
from piimage.config.paths import SECTIONS
from piimage.config.values import did_you_mean, quoted
from piimage.document.document import resolve
from piimage.document.nodes import MapNode, ScalarNode
from piimage.errors import InputError
from piimage.signing import IN_TOKEN
from piimage.sshkeys import keys_of
from piimage.wifi import WANTED, secret_in


def holds(test: Callable[[Path], bool], path: Path) -> bool:
    """Say whether `test` holds; false for a name that the file system refuses (too long)."""
    try:
        return test(path)
    except OSError:
        return False


def reading_errors(
    node: ScalarNode, instead: str, exists: Callable[[Path], bool] = Path.is_file
) -> Iterator[InputError]:
    """Give an error if the file does not exist, or if this user may not read it."""
    if not holds(exists, Path(node.text)):
        yield _no_file(node, instead)
    elif not os.access(node.text, os.R_OK, effective_ids=True):
        yield InputError(
            "config.no-file",
            f"this user may not read {node.text!r}",
            place=str(node.at),
            hint="change the owner or mode of the file, or name another file",
        )


def _no_file(node: ScalarNode, instead: str) -> InputError:
    return InputError(
        "config.no-file",
        f"there is no file {node.text!r}",
        place=str(node.at),
        hint=f"instead: {instead}",
    )


def file_errors(root: MapNode) -> Iterator[InputError]:
    """Give the sources of `files:` and the public keys that cannot be read."""
    for file in maps(root, "files"):
        source, optional = scalar(file, "source"), scalar(file, "optional")
        required = optional is None or optional.text.lower() != "true"
        if source and (required or holds(Path.is_file, Path(source.text))):
            instead = "a path relative to this file; or add optional: true"
            yield from reading_errors(source, instead)
    for key in scalars(root, "ssh", "authorized_keys"):
        if key.text.startswith("/") and not holds(Path.is_file, Path(key.text)):
            yield _no_file(key, "a public key file (ssh-keygen makes one), or the key itself")
        elif key.text:
            yield from _key_errors(key)


def laid_errors(root: MapNode) -> Iterator[InputError]:
    """Give an error for each file that conflicts with a folder of the system or of `files:`."""
    paths: dict[str, ScalarNode] = {}
    folders: dict[str, bool] = {}
    for file in maps(root, "files"):
        path, source = scalar(file, "path"), scalar(file, "source")
        exists = source is None or holds(Path.is_file, Path(source.text))
        if path is not None and path.text.strip("/.") and exists:
            kind = scalar(file, "directory")
            paths[normal_path(path.text)] = path
            folders[normal_path(path.text)] = kind is not None and resolve(kind) is True
    for name, why in misplaced(folders):
        yield InputError(
            "config.misplaced",
            f"{quoted(paths[name].text)} cannot be there: {why}",
            place=str(paths[name].at),
            hint="choose another path",
        )


def host_key_errors(root: MapNode) -> Iterator[InputError]:
    """Give the error of a host key that is there and cannot be used."""
    key = scalar(root, "ssh", "host_key")
    if key is None or not holds(Path.exists, Path(key.text)):
        return  # the build creates it
    if not holds(Path.is_file, Path(key.text)):
        yield _no_file(key, "an ed25519 key file, or a path where the build creates one")
        return
    from piimage.card.hostkey import read_host_key  # noqa: PLC0415  # few files name one

    try:
        read_host_key(Path(key.text))
    except InputError as error:
        yield InputError(error.code, error.message, place=str(key.at), hint=error.hint)


def signing_errors(root: MapNode) -> Iterator[InputError]:
    """Give the key and the certificates of `signing:` that cannot be read."""
    signing = node_at(root, "signing")
    key = scalar(signing, "key") if isinstance(signing, MapNode) else None
    if key is not None and not key.text.startswith(IN_TOKEN):
        yield from reading_errors(key, "the file of a private key, or a pkcs11: URI")
    for certificate in scalars(root, "signing", "certificates"):
        yield from reading_errors(certificate, "the certificate of a key")


def update_errors(root: MapNode) -> Iterator[InputError]:
    """Give what `updates:` lacks: signatures, and whose word counts for an https server."""
    updates = node_at(root, "updates")
    if not isinstance(updates, MapNode):
        return
    server, ca = scalar(updates, "server"), scalar(updates, "ca")
    if ca is not None:
        yield from reading_errors(ca, "the certificate (PEM) behind the server's own")
    elif server is not None and server.text.startswith("https:"):
        yield InputError(
            "config.no-ca",
            "a Pi has no list of authorities, and cannot know this server",
            place=str(server.at),
            hint="add: ca: with the certificate (PEM) of the authority, or of the server itself",
        )
    if not isinstance(node_at(root, "signing"), MapNode):
        yield InputError(
            "config.no-signing",
            "updates: without signing: the Pi would take what anyone on the way sends",
            place=str(updates.at),
            hint="add: signing: with a key and a certificate (docs/updates.md)",
        )


def owner_errors(root: MapNode) -> Iterator[InputError]:
    """Give an error for each owner that is neither a number nor the name of a container."""
    containers = [entry for section in SECTIONS for entry in maps(root, section)]
    names = {name.text for entry in containers if (name := scalar(entry, "name"))}
    if node_at(root, "network", "wifi") is not None:
        names.add("wifi")  # the service that piimage adds for it
    for entry in (*maps(root, "files"), *containers):
        groups = scalars(entry, "additionalGids")
        for owner in (scalar(entry, "uid"), scalar(entry, "gid"), *groups):
            number = owner is None or isinstance(resolve(owner), int)
            if owner is None or number or owner.text in (*names, "root"):
                continue
            yield InputError(
                "config.unknown-owner",
                f"no container is named {quoted(owner.text)}",
                place=str(owner.at),
                hint=f"instead: a number from 0, or {did_you_mean(owner.text, names)}",
            )


def _key_errors(key: ScalarNode) -> Iterator[InputError]:
    try:
        keys_of(key.text)
    except InputError as error:
        where = f"{error.place}: " if error.place else ""
        yield InputError(error.code, f"{where}{error.message}", place=str(key.at), hint=error.hint)


def secret_errors(file: ScalarNode) -> Iterator[InputError]:
    """Give the error of a file that holds no passphrase."""
    if errors := list(reading_errors(file, "a file with the passphrase in its first line")):
        yield from errors
    elif secret_in(Path(file.text)) is None:
        yield InputError(
            "plan.bad-passphrase",
            f"the first line of {file.text!r} is not a valid passphrase",
            place=str(file.at),
            hint=f"write {WANTED}; for an open network remove psk_file",
        )
