"""Resolving what a file asks for into a lock, and fetching what is locked."""
