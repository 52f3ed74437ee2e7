"""File systems, partition table and block map of a card image, written without root."""
