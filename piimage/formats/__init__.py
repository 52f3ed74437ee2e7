"""The output formats of a version besides the card: kernel and initramfs, tar, OCI."""
