"""From the configuration of a container to its OCI runtime bundle."""
