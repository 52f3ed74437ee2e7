"""Buses: the interface that drivers use, and its implementation on Linux."""
