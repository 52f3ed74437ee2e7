"""What the kernel tells of processes: proc(5)."""


def parent(process: int | str) -> str:
    """Return the parent of a process, which may be `self`; empty if it has ended."""
    # The program's name, in brackets, may have blanks and brackets itself.
    words = _read(process, "stat").rpartition(")")[2].split()
    return words[1] if words else ""


def program(process: int | str) -> str:
    """Return the first 15 characters of the name of its program; empty if it has ended."""
    return _read(process, "comm").strip()


def _read(process: int | str, name: str) -> str:
    try:
        with open(f"/proc/{process}/{name}") as file:
            return file.read()
    except OSError:
        return ""
