"""Objectives: all of them at equal budget."""
