"""YAML to typed models: every error of an input at once, each with its position."""
