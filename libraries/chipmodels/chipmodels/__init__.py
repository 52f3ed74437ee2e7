"""Models of sensor chips as a bus sees them, and the front ends that serve them.

One class a chip (registers, conversion time, noise), one wrapper for faults, one adapter that
refuses what the Raspberry Pi's controllers refuse, and several ways to reach it: inside the
process (:mod:`chipmodels.inprocess`), as ``/dev/i2c-N`` and ``/dev/spidevB.C`` through CUSE
(:mod:`chipmodels.cuse`), or copied into the kernel's i2c-stub (:mod:`chipmodels.stub`).

The models share no code with the drivers they test.
"""
