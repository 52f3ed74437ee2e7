"""Sensors of a Raspberry Pi as services: drivers, supervision, configuration, outputs.

Data flows one way: a driver (:mod:`sensorkit.drivers`) reads registers over a bus
(:mod:`sensorkit.bus`) and gives measurements (:mod:`sensorkit.measurement`); a supervisor
(:mod:`sensorkit.supervise`) keeps the driver alive; a station (:mod:`sensorkit.station`) samples
the supervised chips in turn and hands what they measured to the outputs
(:mod:`sensorkit.outputs`).
"""
