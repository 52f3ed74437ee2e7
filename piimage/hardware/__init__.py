"""What a model's device tree asks of the kernel, and whether the image has it."""
