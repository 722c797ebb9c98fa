"""Paper: the MNIST experiments redone."""
