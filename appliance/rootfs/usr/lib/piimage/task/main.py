"""Starts or deletes a task of containerd, as the runner of a service asks."""

import sys

from piimage_task.main import main

sys.exit(main(sys.argv[1:]))
