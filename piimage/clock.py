"""The one time stamp that goes into outputs: a build never asks what time it is."""

from typing import Final

EPOCH: Final = 1735689600
"""2025-01-01T00:00:00Z, in seconds; late enough for FAT, which begins in 1980."""
