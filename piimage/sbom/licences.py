"""SPDX licence expressions from Debian's machine-readable copyright files.

Source: the format ``copyright-format/1.0``; its short names are similar to SPDX's, not the same.
"""

from __future__ import annotations

import re
from typing import Final

_FORMAT: Final = re.compile(r"^Format(-Specification)?:", re.IGNORECASE)
_FIELD: Final = re.compile(r"^License:[ \t]*(\S[^\n]*)$", re.MULTILINE | re.IGNORECASE)
_GNU: Final = re.compile(r"(A?GPL|LGPL|GFDL)-(\d)(?:\.(\d))?(\+)?\Z", re.IGNORECASE)
_MAX: Final = 4 << 20
# SPDX's identifiers by Debian's short names in lower case.
_NAMES: Final = {
    "0bsd": "0BSD",
    "apache-2": "Apache-2.0",
    "apache-2.0": "Apache-2.0",
    "artistic": "Artistic-1.0-Perl",
    "artistic-2.0": "Artistic-2.0",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "bsd-4-clause": "BSD-4-Clause",
    "bsl-1.0": "BSL-1.0",
    "bzip2": "bzip2-1.0.6",
    "cc-by-3.0": "CC-BY-3.0",
    "cc-by-4.0": "CC-BY-4.0",
    "cc-by-sa-3.0": "CC-BY-SA-3.0",
    "cc-by-sa-4.0": "CC-BY-SA-4.0",
    "cc0": "CC0-1.0",
    "cc0-1.0": "CC0-1.0",
    "curl": "curl",
    "expat": "MIT",
    "isc": "ISC",
    "mit": "MIT",
    "mpl-1.1": "MPL-1.1",
    "mpl-2.0": "MPL-2.0",
    "openssl": "OpenSSL",
    "psf-2": "PSF-2.0",
    "unlicense": "Unlicense",
    "zlib": "Zlib",
}


def expression(copyright_file: bytes) -> str | None:
    """Return one SPDX expression for all licences in the file, joined by AND.

    None if the file is not machine-readable, or if SPDX does not have one of its licences: an
    incomplete expression would be misleading.
    """
    text = copyright_file[:_MAX].decode(errors="replace")
    if not _FORMAT.match(text):
        return None
    expressions = [_expression(name.strip()) for name in _FIELD.findall(text)]
    terms = {term for term in expressions if term is not None}
    if not terms or None in expressions:
        return None
    return " AND ".join(f"({t})" if " OR " in t and len(terms) > 1 else t for t in sorted(terms))


def _expression(names: str) -> str | None:
    """Return the expression for one field: ``GPL-2+ or Artistic, and Expat``."""
    clauses = re.split(r",?\s+and\s+", names.rstrip(","))
    alternatives = [[_identifier(name) for name in re.split(r"\s+or\s+", c)] for c in clauses]
    terms: list[str] = []
    for choice in alternatives:
        known = [name for name in choice if name is not None]
        if len(known) < len(choice):
            return None
        terms.append(" OR ".join(known))
    if len(terms) == 1:
        return terms[0]
    return " AND ".join(f"({term})" if " OR " in term else term for term in terms)


def _identifier(name: str) -> str | None:
    if gnu := _GNU.match(name):
        family, major, minor, later = gnu.groups()
        return f"{family.upper()}-{major}.{minor or 0}-{'or-later' if later else 'only'}"
    return _NAMES.get(name.lower())
