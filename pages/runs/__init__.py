"""Runs: all that was trained."""
