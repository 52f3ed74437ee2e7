"""A card image in QEMU, booted as the board's firmware would boot it."""
