"""Export: a model as files to take away."""
