"""goosebit as a service of a Pi."""
