"""Runs compilers of locked Debian packages, isolated from the host: modules and C extensions."""
