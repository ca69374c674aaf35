"""``python -m envid`` and the ``envid`` script are the same program."""

import sys

from envid.surface.cli import main

if __name__ == "__main__":
    sys.exit(main())
