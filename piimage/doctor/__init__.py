"""Evaluates the facts that a running Pi reports about its hardware."""
