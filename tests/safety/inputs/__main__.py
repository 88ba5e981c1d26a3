"""Run the driver from the command line: `python tests/safety/inputs grammar model --seconds 900`."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]

from inputs import driver  # noqa: E402

if __name__ == "__main__":
    sys.exit(driver.main())
