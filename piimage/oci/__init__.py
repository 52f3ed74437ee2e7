"""OCI images: layout on disk, registries, layers, and the runtime spec of a container."""
