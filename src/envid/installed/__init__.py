"""What is really on disk in an environment, and whether it is what the lock means."""
