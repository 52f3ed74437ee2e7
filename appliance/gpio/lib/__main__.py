"""What holds the GPIO lines of a Pi: a service of process 1 (etc/finit.d/_gpio.conf)."""

import sys

from piimage_lines.main import main

sys.exit(main())
