"""Compose files: each word by the line of piimage's YAML that does the same, and whole files."""
