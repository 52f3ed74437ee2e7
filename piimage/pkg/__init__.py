"""From one container folder to an OCI image: its tag and lock; build, push, list."""
