"""What a board's firmware needs on its card, and the card as the firmware sees it."""
