"""A Debian kernel package becomes what a board boots: image, device trees, modules, initramfs."""
