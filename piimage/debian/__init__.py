"""Debian's archive: verified indexes, dependency resolution, packages, and what is in them."""
