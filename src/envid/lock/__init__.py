"""The lock: engines that make it, the format that holds it, the verdict on its age."""
