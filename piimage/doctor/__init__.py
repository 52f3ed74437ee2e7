"""What a Pi that is up says of its hardware, and what to make of it."""
