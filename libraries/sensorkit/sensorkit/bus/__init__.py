"""Buses: what drivers ask of them, and how Linux gives it."""
