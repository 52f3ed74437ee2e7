"""Putting a card image onto a card: find it, refuse the wrong one, write, read back."""
