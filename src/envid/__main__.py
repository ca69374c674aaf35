"""``python -m envid`` and the ``envid`` script are the same program."""

import os
import sys

from envid.surface import cli


def main() -> int:
    """Run the command line of the process; return its exit status, or end the process with it."""
    status = cli.main()
    # A tenth of a hot answer's time, and of a first key's, is Python taking itself apart. These commands leave nothing
    # to do at exit: no thread, no child, no temporary file.
    brief = sys.argv[1:2] in (["key"], ["identity"]) or "--check" in sys.argv
    # An interrupted one has undone all by now; what may be left is a thread that waits for a disk that does not answer.
    if brief or status == cli.INTERRUPTED:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except OSError:
            return status
        os._exit(status)
    return status


if __name__ == "__main__":
    sys.exit(main())
