"""``python -m envid`` and the ``envid`` script are the same program."""

from __future__ import annotations

import sys

from envid.surface.cli import main

if __name__ == "__main__":
    sys.exit(main())
