"""Sensors that the kernel's own drivers measure: IIO, hwmon, 1-Wire and thermal zones."""
