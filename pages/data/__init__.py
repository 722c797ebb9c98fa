"""Data: what networks learn from."""
