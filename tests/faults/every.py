"""All operations, by name."""

from __future__ import annotations

from typing import Final

from faults.commands import COMMANDS
from faults.operations import OPERATIONS

EVERY: Final = {**OPERATIONS, **COMMANDS}
"""Those of the store and those of the program."""
