"""The same engine from a shell. Runs started here show in the browser, and the other way round."""

FAILED, REFUSED, PAUSED, ENDED, INTERRUPTED = 1, 2, 3, 4, 130
"""Exit codes, as --help explains them."""
