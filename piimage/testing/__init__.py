"""An appliance booted in the emulator and held against its file's section `test:`."""
