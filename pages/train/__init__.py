"""Train: set up a story, and watch it."""
