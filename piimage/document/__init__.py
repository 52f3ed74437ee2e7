"""YAML files as documents whose nodes know where they were written."""
