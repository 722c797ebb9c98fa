"""One file a data set, or a family of them: what it is, and how its files become tensors. Imports no torch on top."""
