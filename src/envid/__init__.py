"""envid gives every Python environment an exact identity, and lets nothing stale or tampered through it."""

__version__ = "0.1.0"
