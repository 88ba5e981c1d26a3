"""`python -m llamacffi`, and what the console script `llamacffi` calls."""

from __future__ import annotations

import sys

from llamacffi.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
