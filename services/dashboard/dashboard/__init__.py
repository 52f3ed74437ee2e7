"""The page of a Pi: its services, its state, its sensors; and ``/metrics`` for Prometheus.

It reads files that the system keeps (appliance/README.md, "State, for people and programs") and
cgroup v2. It changes nothing itself: a request to restart or stop a service is a line in a pipe,
which the service's runner outside of the container reads.
"""
