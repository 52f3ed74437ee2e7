"""GPIO lines that the Pi holds for its containers: inputs, counters of pulses, outputs."""
