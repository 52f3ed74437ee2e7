"""Sensors of a Raspberry Pi as services: drivers, supervision, configuration, outputs.

Data flows one way: a driver (:mod:`sensorkit.drivers`) reads registers over a bus
(:mod:`sensorkit.bus`) and returns measurements (:mod:`sensorkit.measurement`); a supervisor
(:mod:`sensorkit.supervise`) retries and restarts the driver; a station (:mod:`sensorkit.station`)
samples the supervised chips in turn and passes the samples to the outputs
(:mod:`sensorkit.outputs`).
"""
