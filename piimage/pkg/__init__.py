"""One container folder to an OCI image: its tag, its lock, building, sending, listing."""
