"""One module a command: its options, and the call of its use case."""
