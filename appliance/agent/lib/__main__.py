"""piimage-agent: what `piimage` talks to on a Pi, over SSH. Started by usr/bin/piimage-agent."""

import sys

from piimage_agent.main import main

sys.exit(main(sys.argv[1:]))
