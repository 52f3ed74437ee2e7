"""Compilers out of locked Debian packages, run apart from the host: modules and C extensions."""
