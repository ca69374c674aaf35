"""What envid keeps between runs, in the user's cache directory; all of it may be deleted."""
