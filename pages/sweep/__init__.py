"""Sweep: many small students trained as one model."""
