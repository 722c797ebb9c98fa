"""A model as files for other programs, each checked against the original."""
