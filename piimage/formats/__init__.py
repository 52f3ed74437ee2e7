"""The forms that a version is written in, beside the card: kernel and initramfs, tar, OCI."""
