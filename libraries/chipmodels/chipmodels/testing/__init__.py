"""A pytest plugin: I2C and SPI device nodes for tests, in a guest if the host has none."""
