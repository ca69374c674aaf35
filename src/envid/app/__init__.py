"""Use cases, one per module; the only place where the columns meet."""
