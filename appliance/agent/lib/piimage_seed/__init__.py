"""Reads the settings that Raspberry Pi Imager, or a person, put on the card's first partition.

The files are those of cloud-init's data source NoCloud: ``user-data``, ``network-config`` and
``meta-data``. Standard library, PyYAML, and the modules of piimage that hold the rules for names,
keys and addresses; the build puts both beside this package. It runs at boot, if there are files.

Sources: the reference of cloud-init ("Module reference", "NoCloud"), that of netplan ("YAML
configuration"), and what rpi-imager's ``src/customization_generator.cpp`` writes.
"""
