"""All claims, in the order in which they are printed."""

from __future__ import annotations

from typing import Final

from faults import bits, crowd, kills, mounts, power, refusals, waits

CLAIMS: Final = (
    *bits.CLAIMS,
    *kills.CLAIMS,
    *refusals.CLAIMS,
    *mounts.CLAIMS,
    *power.CLAIMS,
    *crowd.CLAIMS,
    *waits.CLAIMS,
)
PARTS: Final = tuple(dict.fromkeys(claim.part for claim in CLAIMS))
