"""Models of sensor chips as seen from a bus, and the front ends that serve them.

There is one class for each chip (registers, conversion time, noise), one wrapper for faults, and
one adapter that refuses what the Raspberry Pi's controllers refuse. The front ends reach it inside
the process (:mod:`chipmodels.inprocess`), as ``/dev/i2c-N`` and ``/dev/spidevB.C`` through CUSE
(:mod:`chipmodels.cuse`), or copied into the kernel's i2c-stub (:mod:`chipmodels.stub`).

The models share no code with the drivers that they test.
"""
