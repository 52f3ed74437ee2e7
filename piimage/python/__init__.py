"""Resolves and fetches Python packages for the target, and turns them into tree entries."""
