"""Frozen values, and the parsing that makes them; nothing here touches the world."""
