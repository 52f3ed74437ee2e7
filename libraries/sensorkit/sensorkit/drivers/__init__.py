"""Chips: one module each, from registers to measurements."""
