"""A pytest plugin: I2C and SPI device nodes for tests, in a guest where the host has none."""
