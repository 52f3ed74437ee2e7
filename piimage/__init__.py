"""piimage: one YAML file becomes a Raspberry Pi that runs your containers."""
