"""Asks containerd for tasks, over its socket: what `ctr` does, without the cost of starting ctr.

It runs under MicroPython on the Pi, whose start takes a fraction of that of a program in Go, and
under CPython in tests. So it uses nothing that one of them lacks.
"""
