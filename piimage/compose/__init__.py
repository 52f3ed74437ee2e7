"""Root file systems composed of Debian packages and files, without running foreign code."""
