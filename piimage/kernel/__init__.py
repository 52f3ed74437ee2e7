"""The parts of a board's boot from kernel packages: image, device trees, modules, initramfs."""
