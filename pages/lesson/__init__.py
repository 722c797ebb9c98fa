"""The lesson, a step at a time."""
