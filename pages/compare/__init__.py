"""Compare: models side by side on the same work."""
