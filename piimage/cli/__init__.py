"""The command line; nothing else prints, asks or exits."""
