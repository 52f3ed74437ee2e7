"""Boots an appliance in the emulator and runs the checks of its file's section `test:`."""
