"""Boots a card image in QEMU as the board's firmware would."""
