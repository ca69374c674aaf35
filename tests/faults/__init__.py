"""Faults done to the store on purpose, counted: bits, kills, lost power, refused calls, crowds, waits (docs/faults.md)."""
