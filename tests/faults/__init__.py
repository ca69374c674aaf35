"""Faults done to the store on purpose and counted: bits, kills, lost power, refused calls, crowds, waits."""
