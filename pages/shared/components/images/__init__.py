"""Images of a data set, and a grid to choose from."""
