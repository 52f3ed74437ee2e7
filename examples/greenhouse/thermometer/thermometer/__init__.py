"""A driver for the LM75 thermometer (NXP's data sheet, 7.4.3)."""


def read_celsius(bus, address=0x48):
    """Return the temperature; raises OSError if the chip does not answer."""
    raw = bus.read_word_data(address, 0)  # SMBus words have the low byte first
    swapped = (raw & 0xFF) << 8 | raw >> 8
    return (swapped - 0x10000 if swapped & 0x8000 else swapped) / 256
