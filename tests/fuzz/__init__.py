"""Every reader of bytes that come from others, given damaged ones: see `__main__`."""

import sys
from pathlib import Path

# As pytest has it (pythonpath in pyproject.toml): what lies in services/ is not installed.
sys.path.append(str(Path(__file__).parents[2] / "services" / "chipmodels"))
