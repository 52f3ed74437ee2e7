"""What a card is made of: SPDX and CycloneDX bills, and the origin of each file."""
