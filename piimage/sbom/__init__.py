"""Bills of materials (SPDX, CycloneDX) of a card, and the manifest with each file's origin."""
