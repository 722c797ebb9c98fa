"""Runs as they are kept: the store, its files and curves, and how a damaged one is recovered."""
