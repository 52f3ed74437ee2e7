"""Holds the GPIO lines of `gpio:`: inputs, counters and outputs, for programs in containers.

The lines outlive every container: a deploy or a crash of a service loses no edge, and moves no
relay but as the file says.
"""
