"""Runs that belong together: a story, a sweep, the paper's experiments, the mistakes."""
