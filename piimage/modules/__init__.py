"""Kernel modules out of tree, cross-built against the locked kernel."""
