"""The drivers that a model's device tree needs, and whether the image has them."""
