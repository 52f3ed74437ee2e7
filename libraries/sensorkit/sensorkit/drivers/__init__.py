"""Drivers, one module for each chip: from registers to measurements."""
